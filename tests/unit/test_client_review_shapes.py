"""Whatever the node sends or answers is read, or ends in one clear refusal: nothing of it ends the client, and nothing is kept that could not be read again."""

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

from tests.mailed_store import HERE, NOW, MailedStore, mailed_store
from tests.signal_devices import Device
from tests.told_node import ToldNode, row, told_node
from vyry.client.chain import Entry, Point, digest, text
from vyry.client.circles import Circles
from vyry.client.effects import READ, note_due
from vyry.client.entries import read_entry
from vyry.client.group_due import Due, Dues
from vyry.client.group_info import GroupInfo
from vyry.client.group_keys import GroupKeys, own_key
from vyry.client.inbox import Taken
from vyry.client.line import Line, Mailbox
from vyry.client.live import Live
from vyry.client.lookups import Lookups
from vyry.client.outbox import Outbox
from vyry.client.outgoing import Outgoing
from vyry.client.refusals import ChainBroken, Refused, Unreachable
from vyry.client.rest import Rest
from vyry.client.sealing import ListsOutdated, Sealing
from vyry.client.upkeep import KEYS_DUE, Upkeep
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
    "conversationId": str(HERE),
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
    {"name": "conversationChanged", "conversationId": str(HERE)},
    {"name": "deviceLinked", "deviceId": 2},
]
ENTRIES = [
    ENVELOPE,
    {**ENVELOPE, "kind": 3, "content": b"\1\3" + bytes(614)},
    LOSS,
    *({"seq": 1, "messageId": str(uuid4()), "postedAt": ENVELOPE["postedAt"], "notice": each} for each in NOTICES),
]


def mutants(good: Any) -> Iterator[Any]:
    """With something odd in each place, and without each thing."""
    yield from ODD
    if isinstance(good, dict):
        for name, value in good.items():
            yield {each: good[each] for each in good if each != name}
            yield from ({**good, name: each} for each in mutants(value))
    if isinstance(good, list) and good:
        yield from ([each] for each in mutants(good[0]))


def chained(point_head: bytes, entry: Any) -> Any:
    """With the head that follows, if there can be one."""
    with suppress(Exception):
        return {**entry, "head": sha256(point_head + entry["seq"].to_bytes(8, "big") + digest(entry)).digest()}
    return {**entry, "head": bytes(32)} if isinstance(entry, dict) else entry


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: MailedStore) -> AsyncIterator[tuple[ToldNode, Rest]]:
    async with told_node(ann.store) as said:
        yield said


@pytest.mark.parametrize("place", range(len(ENTRIES)))
async def test_an_odd_entry_is_read_or_breaks_the_chain(
    ann: MailedStore, node: tuple[ToldNode, Rest], place: int
) -> None:
    me, lookups = ann.me, Lookups(ann.store, Circles(ann.store, node[1], lambda: NOW))
    assert me.point is not None
    for entry in mutants(ENTRIES[place]):
        with suppress(ChainBroken):
            read = read_entry(chained(me.point.head, entry))
            await lookups.prepare([read])
            ann.inbox.take([read], NOW)
        # What was kept can be read.
        ann.told()
        me.keep(ann.store)


FRAMES = {
    "welcome": {"lastMessageId": str(uuid4())},
    "refused": {"error_code": "STALE_HEAD", "cursor": {"seq": 7, "head": bytes(32)}},
    "entries": {"entries": []},
    "typing": {"conversationId": str(HERE), "userId": str(uuid4()), "deviceId": 1, "isTyping": True},
    "presence": {"userId": str(uuid4()), "isOnline": True},
}


class Socket:
    """Where nobody listens."""

    async def send_bytes(self, _: bytes) -> None:
        """It goes nowhere."""


def packed(kind: str, payload: Any) -> bytes | None:
    """As it comes over the socket; None for what MessagePack does not carry."""
    with suppress(ValueError, OverflowError, TypeError):
        frame: bytes = msgpack.packb({"type": kind, "id": "1", "payload": payload})
        return frame
    return None


def line_of(ann: MailedStore, rest: Rest, live: Live) -> Line:
    """The socket of that device."""
    point = ann.me.point
    assert point is not None

    async def greeted(last: UUID | None) -> None:
        ann.inbox.greeted(last, NOW)

    async def drained() -> None:
        ann.inbox.drained()

    async def take(entries: Sequence[Entry]) -> Taken:
        return ann.inbox.take(entries, NOW)

    async def adopt(cursor: Point) -> None:
        ann.inbox.adopt(cursor)

    return Line(rest, Mailbox(lambda: point, greeted, drained, take, adopt), live)


@pytest.mark.parametrize("kind", FRAMES)
async def test_an_odd_frame_is_heard_or_ends_the_connection_alone(
    ann: MailedStore, node: tuple[ToldNode, Rest], kind: str
) -> None:
    me, live = ann.me, Live(asyncio.Event(), lambda: NOW)
    line = line_of(ann, node[1], live)
    for payload in mutants(FRAMES[kind]):
        with suppress(Unreachable, ChainBroken):
            await line._hear(Socket(), *line._read(packed(kind, payload)))  # type: ignore[arg-type]
        ann.told()
        while (heard := live.next()) is not None:
            json.dumps(heard.body)
        me.keep(ann.store)


@pytest.mark.parametrize("data", [None, "text", b"", b"\xc1", b"\x81", b"\x05", b"\x91" * 5_000, b"\x80"])
async def test_bytes_that_are_no_frame_end_the_connection_alone(node: tuple[ToldNode, Rest], data: Any) -> None:
    line = Line(node[1], None, None)  # type: ignore[arg-type]

    with pytest.raises(Unreachable):
        line._read(data)


BO = Device()
Ask = Callable[[MailedStore, Rest], Awaitable[object]]


def once(bundle: Bundle) -> dict[str, Any]:
    """As a claim has it."""
    named = {
        "oneTimePrekey": bundle.one_time_prekey,
        "signedPrekey": bundle.signed_prekey,
        "pqPrekey": bundle.pq_prekey,
    }
    prekeys = {
        name: key
        and {"id": key.id, "key": text(key.key), **({"signature": text(key.signature)} if key.signature else {})}
        for name, key in named.items()
    }
    return {**row(BO), "identityKey": text(bundle.identity_key), **prekeys, "pqPrekeyIsLastResort": False}


async def seal(ann: MailedStore, rest: Rest) -> None:
    outgoing = Outgoing.of(Content("text", uuid4(), NOW, HERE, {"text": "for bo"}), NOW)
    ann.store.rows("DELETE FROM value WHERE kind IN ('sessions', 'identity', 'device list', 'conversation')")
    await Sealing(ann.store, rest, lambda: NOW).seal(outgoing, lambda _: None)


async def repair(ann: MailedStore, rest: Rest) -> None:
    stale = await rest.call("GET", "/stale")
    Circles(ann.store, rest, lambda: NOW).repair(HERE, stale, NOW)


async def receipts(ann: MailedStore, rest: Rest) -> None:
    note_due(ann.store, HERE, BO.address.user_id, uuid4(), READ)
    await Outbox(ann.store, rest, lambda: NOW)._write_receipts()


async def tend(ann: MailedStore, rest: Rest) -> None:
    before = ann.me
    ann.store.put("refill", "", b"due")
    ann.store.put(KEYS_DUE, "", b"due")
    upkeep = Upkeep(ann.store, rest, lambda: NOW)
    await upkeep.tend()
    before.keep(ann.store)
    await upkeep.publish_due()
    before.keep(ann.store)


async def pages(ann: MailedStore, rest: Rest) -> None:
    GroupKeys(ann.store).keep_own(HERE, own_key(1, bytes(32)))
    Dues(ann.store).note(Due(HERE))
    await GroupInfo(ann.store, rest, lambda: NOW).tend()


async def renew(ann: MailedStore, rest: Rest) -> None:
    await rest.renew(rest.token())
    rest.token()


STATUS = {"oneTimeRemaining": 100, "pqRemaining": 100, "signedPrekeyId": 1, "issuedThrough": {"oneTime": 2, "pq": 2}}
ASKS: dict[str, Ask] = {
    f"GET /conversations/{HERE}": pages,
    f"GET /keys/{BO.address.user_id}": seal,
    f"POST /keys/{BO.address.user_id}/claim": seal,
    "GET /stale": repair,
    "GET /account": receipts,
    "GET /keys/status": tend,
    "POST /auth/refresh-token": renew,
}


def teach(told: ToldNode, ann: MailedStore) -> None:
    """What an honest node answers."""
    told.conversation(HERE, ann.me.user_id, BO.address.user_id)
    told.list(BO.address.user_id, BO)
    told.answers |= {
        f"POST /keys/{BO.address.user_id}/claim": {"epoch": 1, "bundles": [once(BO.kept.bundle(1))]},
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
    ann: MailedStore, node: tuple[ToldNode, Rest], name: str
) -> None:
    told, rest = node
    teach(told, ann)
    await ASKS[name](ann, rest)
    for answer in mutants(told.answers[name]):
        with suppress(TypeError, ValueError):
            told.answers[name] = json.loads(json.dumps(answer))
        with suppress(Unreachable, Refused, Refusal, ListsOutdated):
            await ASKS[name](ann, rest)
        # Whatever was kept can be read.
        ann.told()
        rest.token()
