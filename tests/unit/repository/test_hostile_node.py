"""The parts of the lying node: its mailbox keeps an honest-looking chain whatever is put in or left out, its attacker opens what was sealed for it and nothing else."""

import uuid
from uuid import UUID, uuid4

import pytest

from tests.hostile_node.catalogue import LIES, UNDETECTED_LIES
from tests.hostile_node.mailbox import Entries, MailboxPoint, ShownMailbox, VerbatimEntry, chain_entry
from tests.hostile_node.mallory import AttackerDevice, Mallory, Sealed, bundle_of, make_content
from tests.hostile_node.wire import Body, read_frame, write_frame
from tests.support.chain_checker import BrokenChain, ChainChecker, to_bytes
from tests.support.device_keys import base64_text
from tests.support.protocol_devices import ProtocolDevice
from vyry.signal_protocol.keys import PublicPrekey
from vyry.signal_protocol.primitives import Address, SigningPair


HERE = UUID(int=7)


def entry(text: str) -> Body:
    """An envelope as a node tells it, without number and head."""
    at = "2026-01-01T00:00:00.001Z"
    head = {"messageId": str(uuid4()), "conversationId": str(HERE), "lane": "mail", "kind": 2, "postedAt": at}
    return {**head, "senderId": str(uuid4()), "senderDeviceId": 1, "content": base64_text(text.encode())}


class HonestMailbox:
    """A node's mailbox, and what a lying one tells of it."""

    def __init__(self) -> None:
        self.mailbox_id = str(uuid.uuid4())
        self.told = ShownMailbox()
        self.told.begin(self.mailbox_id)
        self.here = self.told.shown_point

    def deposit(self, text: str) -> Body:
        """The next entry of the node's."""
        made = chain_entry(entry(text), self.here)
        self.here = MailboxPoint(made["seq"], to_bytes(made["head"]))
        return made

    def tell(self, each: Body, entries: Entries | None = None) -> None:
        """Those in its place; itself unless told otherwise."""
        self.told.add_node_entry(each, [each] if entries is None else entries)

    def read(self) -> list[bytes]:
        """What a client takes that checks every number and head."""
        chain = ChainChecker(self.mailbox_id)
        for each in self.told.log:
            chain.advance(each.entry)
        return [to_bytes(each.entry["content"]) for each in self.told.log]


def test_a_mailbox_without_a_lie_is_told_as_it_is() -> None:
    node = HonestMailbox()
    entries = [node.deposit(text) for text in "abc"]

    for each in entries:
        node.tell(each)

    assert [each.entry for each in node.told.log] == entries
    assert node.told.shown_point == node.told.real == node.here


def test_entries_put_in_left_out_and_repeated_make_a_chain_that_follows() -> None:
    node = HonestMailbox()
    one, two, three = (node.deposit(text) for text in "abc")
    node.tell(one, [one, one])
    node.tell(two, [])
    node.told.insert(entry("x"))
    node.tell(three)

    assert node.read() == [b"a", b"a", b"x", b"c"]
    assert (node.told.shown_point.seq, node.told.real.seq) == (4, 3)


def test_points_of_the_client_and_of_the_node_are_told_apart() -> None:
    node = HonestMailbox()
    one, two = node.deposit("a"), node.deposit("b")
    node.told.insert(entry("x"))
    node.tell(one, [entry("y"), one])
    node.tell(two)
    points = [each.shown_point for each in node.told.log]

    assert [node.told.node_point_at(point.seq).seq for point in points] == [0, 0, 1, 2]
    assert {node.told.resume(point) for point in points} == {node.told.real}
    assert node.told.resume(MailboxPoint(2, bytes(32))) is None
    assert node.told.shown_point_for(MailboxPoint(1, to_bytes(one["head"]))) == points[2]
    assert (node.told.acknowledge(2).seq, node.told.shown_point_for(MailboxPoint())) == (0, points[1])
    assert node.told.node_seq(points[2].seq) == 1
    assert node.told.node_seq(points[0].seq) is None
    assert node.told.resume(points[0]) is None


def test_a_mailbox_is_taken_up_where_the_client_says_that_it_is() -> None:
    node, told = HonestMailbox(), ShownMailbox()
    for text in "abc":
        node.deposit(text)
    point = node.here

    assert told.resume(point) == point
    told.begin(node.mailbox_id)
    told.add_node_entry(node.deposit("d"), [entry("x"), entry("y")])
    assert [each.shown_point.seq for each in told.log] == [4, 5]
    assert told.resume(point) == told.real


def test_what_a_chain_must_not_take_is_told_with_the_number_it_has() -> None:
    node = HonestMailbox()
    node.told.insert(VerbatimEntry({**chain_entry(entry("x"), node.told.shown_point), "head": base64_text(bytes(32))}))

    with pytest.raises(BrokenChain):
        node.read()


@pytest.mark.parametrize("is_text", [True, False])
def test_a_frame_of_either_subprotocol_passes_as_it_is(is_text: bool) -> None:
    frame = {"type": "entries", "payload": {"entries": [{**entry("x"), "seq": 1, "head": base64_text(bytes(32))}]}}

    assert read_frame(write_frame(frame, is_text=is_text)) == frame


def test_the_attacker_opens_what_is_sealed_for_one_of_their_faces_and_nothing_else() -> None:
    mallory, ann, bo = Mallory(), ProtocolDevice(), ProtocolDevice()
    face = mallory.device_at(Address(uuid4(), 2))
    mallory.device_at(bo.address)
    upload = {**face.bundle(), "pqLastResort": face.bundle()["pqPrekey"]}
    ann.sessions = ann.sessions.begin(ann.person.device, bundle_of(face.own.address, upload), 1)
    ann.sessions, content = ann.sessions.seal(b"for the face")

    mallory.record_copy(Sealed(ann.address, face.own.address, HERE, "1", content))
    ann.sessions = type(ann.sessions)()
    mallory.record_copy(Sealed(ann.address, bo.address, HERE, "2", ann.send(bo, b"for bo")))

    assert [(each.address, each.plaintext) for each in mallory.opened] == [(face.own.address, b"for the face")]
    assert mallory.has_read("for the face")
    assert not mallory.has_read("for bo")


def test_the_attacker_writes_to_whoever_published_keys_through_the_proxy() -> None:
    face, ann = AttackerDevice(Address(uuid4(), 1), SigningPair.generate()), ProtocolDevice()
    bundle = ann.kept.bundle(1, one_time=False)
    upload = {
        "registrationId": bundle.registration_id,
        "identityKey": base64_text(bundle.identity_key),
        "identityDhKey": base64_text(bundle.identity_dh_key),
        "identityDhSignature": base64_text(bundle.identity_dh_signature),
        "signedPrekey": _said(bundle.signed_prekey),
        "pqLastResort": _said(bundle.pq_prekey),
    }

    face.begin_session(ann.address, upload)
    content = face.seal(ann.address, make_content("text", HERE, {"text": "hello"}))

    class Sender:
        address = face.own.address

    assert b'"hello"' in ann.receive(Sender, content)  # type: ignore[arg-type]  # all that is looked at


def test_each_lie_has_a_name_a_line_and_an_end() -> None:
    assert all(lie.summary() and lie.detected_by for lie in LIES.values())
    assert len({lie.summary() for lie in LIES.values()}) == len(LIES)
    assert not LIES.keys() & UNDETECTED_LIES.keys()


def _said(prekey: PublicPrekey) -> Body:
    return {"id": prekey.id, "key": base64_text(prekey.key), "signature": base64_text(prekey.signature or b"")}
