"""Whatever the node sends is accepted or ends in one clear error: it never ends the client, and nothing is stored that could not be read again."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgpack
import pytest

from tests.support.client_inbox import CONVERSATION, NOW, InboxHarness, open_inbox
from tests.support.fake_node import FakeNode, device_row, open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.group_keys import GroupKeys, new_own_key
from vyry.client.crypto.sealing import ListsOutdated, Sealing
from vyry.client.errors import ChainBroken, Refused, Unreachable
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, ProcessedPage, entry_digest
from vyry.client.store.outgoing import Outgoing
from vyry.client.store.pending_groups import GroupTask, GroupTasks
from vyry.client.sync.content_processor import queue_receipt
from vyry.client.sync.group_info import GroupInfo
from vyry.client.sync.key_maintenance import KeyMaintenance
from vyry.client.sync.outbox import Outbox
from vyry.client.sync.prefetch import Prefetcher
from vyry.client.transport.connection import Connection, MailboxHandlers
from vyry.client.transport.live_signals import LiveSignals
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_entry
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.keys import Bundle
from vyry.signal_protocol.refusals import Refusal


pytestmark = pytest.mark.filterwarnings("error")
ODD: tuple[Any, ...] = (
    *(None, 0, -1, 5, 128, 2**31, 2**32, 2**53, 2**70, 1.5, True, "", "x", "\ud800", "9" * 5_000, "0" * 32),
    *([], [1], [{}], {}, {"a": 1}, {5: 6}, b"\xff"),
)
ENVELOPE = {
    "seq": 1,
    "messageId": str(uuid4()),
    "conversationId": str(CONVERSATION),
    "senderId": str(uuid4()),
    "kind": 2,
    "senderDeviceId": 1,
    "lane": "mail",
    "content": b"\1\2" + bytes(80),
    "postedAt": "2027-01-15T08:00:00.000Z",
}
LOSS = {"seq": 1, "throughSeq": 1, "tombstone": {"reason": "expired", "count": 1}}
NOTICES = [
    {"name": "devicesChanged", "userId": str(uuid4())},
    {"name": "conversationChanged", "conversationId": str(CONVERSATION)},
    {"name": "deviceLinked", "deviceId": 2},
]
ENTRIES = [
    ENVELOPE,
    {**ENVELOPE, "kind": 3, "content": b"\1\3" + bytes(614)},
    LOSS,
    *({"seq": 1, "messageId": str(uuid4()), "postedAt": ENVELOPE["postedAt"], "notice": each} for each in NOTICES),
]


def mutants(good: Any) -> Iterator[Any]:
    """Copies with an unexpected value in each position, and without each field."""
    yield from ODD
    if isinstance(good, dict):
        for name, value in good.items():
            yield {each: good[each] for each in good if each != name}
            yield from ({**good, name: each} for each in mutants(value))
    if isinstance(good, list) and good:
        yield from ([each] for each in mutants(good[0]))


def chained(point_head: bytes, entry: Any) -> Any:
    """The entry with the hash that follows, if there can be one."""
    with suppress(Exception):
        return {**entry, "head": sha256(point_head + entry["seq"].to_bytes(8, "big") + entry_digest(entry)).digest()}
    return {**entry, "head": bytes(32)} if isinstance(entry, dict) else entry


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: InboxHarness) -> AsyncIterator[tuple[FakeNode, RestClient]]:
    async with open_fake_node(ann.store) as said:
        yield said


@pytest.mark.parametrize("place", range(len(ENTRIES)))
async def test_an_odd_entry_is_read_or_breaks_the_chain(
    ann: InboxHarness, node: tuple[FakeNode, RestClient], place: int
) -> None:
    me, lookups = ann.local_device, Prefetcher(ann.store, MemberDirectory(ann.store, node[1], lambda: NOW))
    assert me.point is not None
    for entry in mutants(ENTRIES[place]):
        with suppress(ChainBroken):
            read = read_entry(chained(me.point.head, entry))
            await lookups.prefetch([read])
            ann.inbox.process([read], NOW)
        # What was stored can be read.
        ann.pop_events()
        me.save(ann.store)


FRAMES = {
    "welcome": {"lastMessageId": str(uuid4())},
    "refused": {"error_code": "STALE_HEAD", "cursor": {"seq": 7, "head": bytes(32)}},
    "entries": {"entries": []},
    "typing": {"conversationId": str(CONVERSATION), "userId": str(uuid4()), "deviceId": 1, "isTyping": True},
    "presence": {"userId": str(uuid4()), "isOnline": True},
}


class Socket:
    """A socket without a reader."""

    async def send_bytes(self, _: bytes) -> None:
        """Discards the bytes."""


def packed(kind: str, payload: Any) -> bytes | None:
    """The frame as it comes over the socket; None for what MessagePack cannot encode."""
    with suppress(ValueError, OverflowError, TypeError):
        frame: bytes = msgpack.packb({"type": kind, "id": "1", "payload": payload})
        return frame
    return None


def open_connection(ann: InboxHarness, rest: RestClient, live: LiveSignals) -> Connection:
    """The connection of that device."""
    point = ann.local_device.point
    assert point is not None

    async def greeted(last: UUID | None) -> None:
        ann.inbox.on_welcome(last, NOW)

    async def drained() -> None:
        ann.inbox.on_drained()

    async def take(entries: Sequence[Entry]) -> ProcessedPage:
        return ann.inbox.process(entries, NOW)

    async def adopt(cursor: MailboxPosition) -> None:
        ann.inbox.adopt_position(cursor)

    return Connection(rest, MailboxHandlers(lambda: point, greeted, drained, take, adopt), live)


@pytest.mark.parametrize("kind", FRAMES)
async def test_an_odd_frame_is_heard_or_ends_the_connection_alone(
    ann: InboxHarness, node: tuple[FakeNode, RestClient], kind: str
) -> None:
    me, live = ann.local_device, LiveSignals(asyncio.Event(), lambda: NOW)
    line = open_connection(ann, node[1], live)
    for payload in mutants(FRAMES[kind]):
        with suppress(Unreachable, ChainBroken):
            await line._dispatch(Socket(), *line._read(packed(kind, payload)))  # type: ignore[arg-type]
        ann.pop_events()
        while (heard := live.next_event()) is not None:
            json.dumps(heard.body)
        me.save(ann.store)


@pytest.mark.parametrize("data", [None, "text", b"", b"\xc1", b"\x81", b"\x05", b"\x91" * 5_000, b"\x80"])
async def test_bytes_that_are_no_frame_end_the_connection_alone(node: tuple[FakeNode, RestClient], data: Any) -> None:
    line = Connection(node[1], None, None)  # type: ignore[arg-type]

    with pytest.raises(Unreachable):
        line._read(data)


BO = ProtocolDevice()
Ask = Callable[[InboxHarness, RestClient], Awaitable[object]]


def claimed_row(bundle: Bundle) -> dict[str, Any]:
    """A row of a claim."""
    named = {
        "oneTimePrekey": bundle.one_time_prekey,
        "signedPrekey": bundle.signed_prekey,
        "pqPrekey": bundle.pq_prekey,
    }
    prekeys = {
        name: key
        and {
            "id": key.id,
            "key": encode_base64(key.key),
            **({"signature": encode_base64(key.signature)} if key.signature else {}),
        }
        for name, key in named.items()
    }
    return {
        **device_row(BO),
        "identityKey": encode_base64(bundle.identity_key),
        **prekeys,
        "pqPrekeyIsLastResort": False,
    }


async def seal(ann: InboxHarness, rest: RestClient) -> None:
    outgoing = Outgoing.from_content(Content("text", uuid4(), NOW, CONVERSATION, {"text": "for bo"}), NOW)
    ann.store.execute("DELETE FROM value WHERE kind IN ('sessions', 'identity', 'device list', 'conversation')")
    await Sealing(ann.store, rest, lambda: NOW).seal(outgoing, lambda _: None)


async def repair(ann: InboxHarness, rest: RestClient) -> None:
    stale = await rest.call("GET", "/stale")
    MemberDirectory(ann.store, rest, lambda: NOW).invalidate_stale(CONVERSATION, stale, NOW)


async def receipts(ann: InboxHarness, rest: RestClient) -> None:
    queue_receipt(ann.store, CONVERSATION, BO.address.user_id, uuid4(), kinds.READ_RECEIPTS_DUE)
    await Outbox(ann.store, rest, lambda: NOW)._write_receipts()


async def refill_prekeys(ann: InboxHarness, rest: RestClient) -> None:
    before = ann.local_device
    ann.store.put("refill", "", b"due")
    ann.store.put(kinds.KEYS_DUE, "", b"due")
    upkeep = KeyMaintenance(ann.store, rest, lambda: NOW)
    await upkeep.refill_and_rotate()
    before.save(ann.store)
    await upkeep.publish_if_due()
    before.save(ann.store)


async def fetch_pages(ann: InboxHarness, rest: RestClient) -> None:
    GroupKeys(ann.store).save_own(CONVERSATION, new_own_key(1, bytes(32)))
    GroupTasks(ann.store).add(GroupTask(CONVERSATION))
    await GroupInfo(ann.store, rest, lambda: NOW).run_tasks()


async def refresh_token(ann: InboxHarness, rest: RestClient) -> None:
    await rest.renew_token(rest.access_token())
    rest.access_token()


STATUS = {"oneTimeRemaining": 100, "pqRemaining": 100, "signedPrekeyId": 1, "issuedThrough": {"oneTime": 2, "pq": 2}}
ASKS: dict[str, Ask] = {
    f"GET /conversations/{CONVERSATION}": fetch_pages,
    f"GET /keys/{BO.address.user_id}": seal,
    f"POST /keys/{BO.address.user_id}/claim": seal,
    "GET /stale": repair,
    "GET /account": receipts,
    "GET /keys/status": refill_prekeys,
    "POST /auth/refresh-token": refresh_token,
}


def set_honest_answers(fake_node: FakeNode, ann: InboxHarness) -> None:
    """The responses of an honest node."""
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, BO.address.user_id)
    fake_node.set_device_list(BO.address.user_id, BO)
    fake_node.answers |= {
        f"POST /keys/{BO.address.user_id}/claim": {"epoch": 1, "bundles": [claimed_row(BO.kept.bundle(1))]},
        "GET /stale": {each: [{"userId": str(BO.address.user_id), "deviceId": 1}] for each in ("missing", "extra")},
        "GET /account": {"settings": {"deliveryReceipts": True, "readReceipts": True}},
        "GET /friends": {"friends": [{"userId": str(BO.address.user_id)}], "nextCursor": None},
        "GET /blocks": {"blocks": [], "nextCursor": None},
        "GET /keys/status": STATUS,
        "PUT /keys": {},
        "POST /keys/prekeys": {},
        "POST /auth/refresh-token": {"accessToken": "b", "refreshToken": "c"},
    }


@pytest.mark.parametrize("name", ASKS, ids=[name.replace(str(BO.address.user_id), "BO") for name in ASKS])
async def test_an_odd_answer_is_read_or_decides_nothing(
    ann: InboxHarness, node: tuple[FakeNode, RestClient], name: str
) -> None:
    fake_node, rest = node
    set_honest_answers(fake_node, ann)
    await ASKS[name](ann, rest)
    for answer in mutants(fake_node.answers[name]):
        with suppress(TypeError, ValueError):
            fake_node.answers[name] = json.loads(json.dumps(answer))
        with suppress(Unreachable, Refused, Refusal, ListsOutdated):
            await ASKS[name](ann, rest)
        # Everything that was stored can be read.
        ann.pop_events()
        rest.access_token()
