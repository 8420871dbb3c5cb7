"""States are values: nothing changes one, and a crash between an operation and its storing forks nothing, reuses no key and loses and duplicates no message."""

import copy
import importlib
import inspect
import pkgutil
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import vyry.signal_protocol
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.store.packing import pack, unpack
from vyry.signal_protocol.handshake import PREFIX_BYTES
from vyry.signal_protocol.ratchet import HEADER_BYTES, KEPT_MILLISECONDS
from vyry.signal_protocol.refusals import DuplicateMessage, Refusal
from vyry.signal_protocol.sessions import Sessions, peer_device


STATES = [
    each
    for module in pkgutil.iter_modules(vyry.signal_protocol.__path__, "vyry.signal_protocol.")
    for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
    if is_dataclass(each) and each.__module__ == module.name
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_every_value_of_the_protocol_is_frozen(state: type) -> None:
    empty: object = object.__new__(state)

    with pytest.raises(FrozenInstanceError):
        setattr(empty, fields(state)[0].name, 1)
    assert not hasattr(empty, "__dict__")


@dataclass(frozen=True, slots=True)
class Sent:
    """A content that was sent and not yet received."""

    by: int
    text: bytes
    content: bytes = field(repr=False)


def nonce_inputs(content: bytes) -> bytes:
    """Session, ratchet key and number: they determine the AES key and nonce of a message."""
    header = content[PREFIX_BYTES:] if content[1] == 1 else content
    return header[2:42] + header[46:HEADER_BYTES]


class Crashes(RuleBasedStateMachine):
    """Two devices that crash between an operation and its storing; the wire loses, repeats and reorders."""

    @initialize()
    def meet(self) -> None:
        self.devices = (ProtocolDevice(), ProtocolDevice())
        self.wire: list[Sent] = []
        self.read: list[Sent] = []

    @rule(who=st.integers(0, 1), is_killed=st.booleans())
    def send(self, who: int, is_killed: bool) -> None:
        device, other = self.devices[who], self.devices[1 - who]
        device.now += 1
        before, text = device.sessions, uuid4().bytes
        content = device.send(other, text)
        if is_killed:
            # The content was not sent: the new state is stored first.
            device.sessions = before
        else:
            self.wire.append(Sent(who, text, content))

    @precondition(lambda self: self.wire)
    @rule(which=st.integers(0, 1_000), is_killed=st.booleans())
    def deliver(self, which: int, is_killed: bool) -> None:
        sent = self.wire[which % len(self.wire)]
        reader, writer = self.devices[1 - sent.by], self.devices[sent.by]
        try:
            opened = reader.open(writer, sent.content)
        except DuplicateMessage:
            assert sent in self.read
            return
        assert opened.plaintext == sent.text
        assert sent not in self.read
        if not is_killed:
            reader.store(opened)
            self.read.append(sent)

    @precondition(lambda self: self.wire)
    @rule(which=st.integers(0, 1_000), at=st.integers(0, 70_000), bit=st.integers(0, 7))
    def flip(self, which: int, at: int, bit: int) -> None:
        sent = self.wire[which % len(self.wire)]
        at %= len(sent.content)
        spoiled = sent.content[:at] + bytes([sent.content[at] ^ 1 << bit]) + sent.content[at + 1 :]
        with pytest.raises(Refusal):
            self.devices[1 - sent.by].open(self.devices[sent.by], spoiled)

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        device = self.devices[who]
        device.sessions = unpack(Sessions, pack(device.sessions))

    @invariant()
    def no_key_served_twice(self) -> None:
        places = [nonce_inputs(sent.content) for sent in getattr(self, "wire", [])]
        assert len(set(places)) == len(places)

    def teardown(self) -> None:
        for sent in [each for each in getattr(self, "wire", []) if each not in self.read]:
            assert self.devices[1 - sent.by].receive(self.devices[sent.by], sent.content) == sent.text


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_no_act_changes_the_state_that_it_began_with() -> None:
    ann, bo = ProtocolDevice(), ProtocolDevice()
    contents = [ann.send(bo, b"%d" % number) for number in range(5)]
    bo.receive(ann, contents[4])
    before, copied = bo.sessions, copy.deepcopy(bo.sessions)

    bo.sessions.seal(b"answer")
    bo.open(ann, contents[0])
    bo.open(ann, contents[1])
    with pytest.raises(Refusal):
        bo.open(ann, contents[2][:-1])
    bo.sessions.archive()
    bo.sessions.retire_unlisted(replace(peer_device(ann.kept.bundle(9)), registration_id=7), KEPT_MILLISECONDS * 2)
    bo.sessions.restrict_to_identity(bytes(32))

    assert before == copied


def test_what_is_tried_again_after_a_crash_is_the_same_message_again() -> None:
    ann, bo = ProtocolDevice(), ProtocolDevice()
    bo.receive(ann, ann.send(bo, b"first"))

    assert bo.sessions.seal(b"answer")[1] == bo.sessions.seal(b"answer")[1]


def test_keys_of_what_never_came_go_from_every_session_after_thirty_days() -> None:
    ann, bo = ProtocolDevice(), ProtocolDevice()
    ann.send(bo, b"lost")
    bo.receive(ann, ann.send(bo, b"here"))
    ann.sessions = ann.sessions.archive()
    ann.now = 1
    bo.receive(ann, ann.send(bo, b"in another session"))
    assert [len(each.ratchet.kept) for each in bo.sessions.archived] == [1]

    bo.now = KEPT_MILLISECONDS + 1
    bo.receive(ann, ann.send(bo, b"much later"))

    assert [len(each.ratchet.kept) for each in bo.sessions.archived] == [0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=6),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_two_who_begin_at_once_settle_after_one_message_each_way(
    said: list[tuple[int, bool]], order: list[int]
) -> None:
    devices = (ProtocolDevice(), ProtocolDevice())
    wire = [(who, devices[who].send(devices[1 - who], b"x", one_time=once)) for who, once in said]
    for which in order:
        who, content = wire[which % len(wire)]
        try:
            devices[1 - who].receive(devices[who], content)
        except DuplicateMessage:
            continue

    for who in (0, 1):
        assert devices[1 - who].receive(devices[who], devices[who].send(devices[1 - who], b"now")) == b"now"

    sessions = [device.sessions.active for device in devices]
    assert len({active and active.session_id for active in sessions}) == 1
