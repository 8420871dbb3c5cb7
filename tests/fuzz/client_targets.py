"""Fuzz targets of what a client reads of its node, of other devices and of its own folder: named refusals alone come out, and what is refused changes nothing in the store."""

import json
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import msgpack

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.device_lists import DeviceList, DeviceLists, KnownDevices, ListedDevice
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, read_bundle
from vyry.client.crypto.unsealing import IncomingEnvelope, OpenedContent, SourceSession
from vyry.client.errors import ClientError, StoreLocked, Unreachable
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, ProcessedPage, entry_digest
from vyry.client.store.store import Store
from vyry.client.store.store_key import STORE_KEY, UnlockMethod, WrappedKey
from vyry.client.sync.inbox import Inbox
from vyry.client.transport.connection import Connection, MailboxHandlers
from vyry.client.transport.live_signals import LiveSignals
from vyry.client.transport.rest import RestClient
from vyry.signal_protocol.keys import OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, SigningPair
from vyry.signal_protocol.refusals import ConversationForged, Refusal
from vyry.signal_protocol.sessions import PeerDevice, Sessions


NOW: Final = 1_800_000_000_000
ME, BO, CONVERSATION = UUID(int=1), UUID(int=2), UUID(int=7)
KEY: Final = bytes(range(32))
#: Devices with keys that are the same in each run: Bo's, and this one.
DEVICE: Final = OwnDevice(
    Address(BO, 1), 77, SigningPair.from_private(bytes([1]) * 32), DhPair.from_private(bytes([2]) * 32)
)
OWN: Final = LocalDevice(
    ME,
    1,
    78,
    SigningPair.from_private(bytes([3]) * 32),
    DhPair.from_private(bytes([4]) * 32),
    MailboxPosition.initial(CONVERSATION),
    1,
    bytes(32),
)
PEER: Final = PeerDevice(DEVICE.identity.public, DEVICE.dh.public, DEVICE.registration_id)
Result = TypeVar("Result")


@cache
def _profile() -> Path:
    """A registered device that holds Bo's key and knows Bo's list."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    with Store(folder / "vyry.db", KEY) as store:
        OWN.save(store)
        Peers(store).save_identity(BO, DEVICE.identity.public)
        row = ListedDevice(DEVICE.registration_id, DEVICE.dh.public)
        KnownDevices(store).record(BO, DeviceList(1, DEVICE.identity.public, {1: row}), NOW)
    return folder / "vyry.db"


@contextmanager
def _store() -> Iterator[Store]:
    """A copy of it, for one input."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "vyry.db"
        shutil.copy(_profile(), path)
        with Store(path, KEY) as store:
            yield store


def _rows(store: Store) -> list[tuple[Any, ...]]:
    return [*store.execute("SELECT kind, name, sealed FROM value"), *store.execute("SELECT * FROM event")]


def _act(store: Store, act: Callable[[], Result], *refusals: type[Exception]) -> Result | None:
    """What it answers; None when it is refused, and then nothing has changed."""
    before = _rows(store)
    try:
        return act()
    except refusals:
        assert _rows(store) == before
        return None


def _read_all_events(store: Store) -> None:
    """What is kept to be told can be told."""
    journal = Journal(store)
    while (event := journal.next_event()) is not None:
        journal.mark_handled(event.number)


def _told(raw: bytes) -> dict[str, Any]:
    """An answer as the client's HTTP library reads it."""
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _rest(store: Store) -> RestClient:
    """It asks nobody here."""
    return RestClient(cast(Any, None), "http://node", store)


def _run_sync(work: Coroutine[Any, Any, Result]) -> Result:
    """What it answers: it has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast(Result, done.value)
    raise AssertionError("it waits")


def device_list(raw: bytes) -> None:
    """The answer of GET /keys/{userId} for an account, and for one's own: only rows with keys of their own, in bounds, that a list is made of."""
    said = _told(raw)
    for user_id in (BO, ME):
        with _store() as store:
            lists, rest, me = DeviceLists(store, _rest(store), lambda: NOW), _rest(store), LocalDevice.load(store)

            def taken(
                lists: DeviceLists = lists, rest: RestClient = rest, me: LocalDevice = me, whose: UUID = user_id
            ) -> DeviceList:
                with rest.validated_response():
                    return _run_sync(lists._accept_list(me, whose, said))

            listed = _act(store, taken, Unreachable)
            if listed is not None:
                assert len({each.dh_key for each in listed.devices.values()}) == len(listed.devices)
                assert all(Address(user_id, number).pack() for number in listed.devices)
                listed.fingerprint(user_id)
                assert KnownDevices(store).current(user_id) in (listed, None) or user_id == BO
            _read_all_events(store)


def conversation(raw: bytes) -> None:
    """The answer of GET /conversations/{id}, twice: what is taken is taken again, and a direct one has two people."""
    said = _told(raw)
    with _store() as store:
        circles, rest = MemberDirectory(store, _rest(store), lambda: NOW), _rest(store)

        def kept() -> Any:
            with rest.validated_response():
                return circles.record({**said, "conversationId": str(CONVERSATION)})

        try:
            first = _act(store, kept, Unreachable)
        except ConversationForged:
            return
        if first is not None:
            assert kept() == first
            assert first.is_group or len({*first.members} - {ME}) <= 1


def claimed_bundle(raw: bytes) -> None:
    """A bundle of a claim: it begins a session with the very device that it names, or is refused."""
    with _store() as store:
        rest = _rest(store)
        try:
            with rest.validated_response():
                bundle = read_bundle(BO, _told(raw))
            sessions = Sessions().begin(OWN.protocol_device, bundle, NOW)
        except (Unreachable, Refusal):
            return
        assert sessions.active is not None
        assert sessions.active.peer.dh_key == bundle.identity_dh_key
        sessions.seal(b"hello")


def node_frame(raw: bytes) -> None:
    """A frame of the node to a device, its entries in an unbroken chain: kept whole, or refused."""
    with _store() as store:
        inbox = Inbox(store)

        def point() -> MailboxPosition:
            found = LocalDevice.load(store).point
            assert found is not None
            return found

        async def take(entries: Sequence[Entry]) -> ProcessedPage:
            return inbox.process(entries, NOW)

        async def greeted(last: UUID | None) -> None:
            inbox.on_welcome(last, NOW)

        async def drained() -> None:
            return None

        async def adopt(cursor: MailboxPosition) -> None:
            inbox.adopt_position(cursor)

        async def send(_octets: bytes) -> None:
            return None

        news: Any = SimpleNamespace(set=lambda: None)
        line = Connection(
            _rest(store), MailboxHandlers(point, greeted, drained, take, adopt), LiveSignals(news, lambda: NOW)
        )
        socket: Any = SimpleNamespace(send_bytes=send)

        async def hear() -> None:
            await line._dispatch(socket, *line._read(_chained(raw, point())))

        _act(store, lambda: _run_sync(hear()), ClientError)
        assert type(point().seq) is int
        _read_all_events(store)


def _chained(raw: bytes, point: MailboxPosition) -> bytes:
    """The frame with heads that follow, as far as its entries have what makes one."""
    try:
        frame = msgpack.unpackb(raw)
        for entry in frame["payload"]["entries"]:
            entry["seq"] = point.seq + 1
            entry["head"] = sha256(point.head + entry["seq"].to_bytes(8, "big") + entry_digest(entry)).digest()
            point = MailboxPosition(entry["seq"], entry["head"])
        return cast(bytes, msgpack.packb(frame))
    except Exception:  # noqa: BLE001  whatever it is, the client gets it as it came
        return raw


def said_content(raw: bytes) -> None:
    """What was in a message of another device, in a session: it counts, or is refused by name and counts for nothing."""
    with _store() as store:
        inbox = Inbox(store)
        letter = IncomingEnvelope(DEVICE.address, CONVERSATION, UUID(int=9), b"\x01\x02" + bytes(64), NOW)
        unsealed = OpenedContent(raw, SourceSession(bytes(8), PEER))

        def taken() -> bool:
            with store.savepoint():
                inbox.processor.process(LocalDevice.load(store), letter, unsealed)
            return True

        is_taken = _act(store, taken, Refusal)
        _read_all_events(store)
        if is_taken:
            assert json.loads(raw, object_pairs_hook=_reject_duplicate_keys)["conversationId"] == str(CONVERSATION)


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a name stands twice"
    return dict(pairs)


@cache
def wrapped_key() -> bytes:
    """The file of a profile that a key opens."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / STORE_KEY
        WrappedKey.wrap(bytes(32), UnlockMethod.KEY, None, KEY).write(path)
        return path.read_bytes()


def store_key(raw: bytes) -> None:
    """The file `store-key`: what is read is written the same way, and only what was wrapped under the key opens. `W` stands for a good file, changed by what follows: place, mask."""
    good = wrapped_key()
    if raw[:1] == b"W":
        spoiled = bytearray(good)
        for at in range(1, len(raw) - 1, 2):
            spoiled[raw[at] % len(spoiled)] ^= raw[at + 1]
        raw = bytes(spoiled)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / STORE_KEY
        path.write_bytes(raw)
        try:
            read = WrappedKey.read(path)
            assert path.read_bytes() == raw
            read.write(path)
            assert WrappedKey.read(path) == read
            opened = read.unwrap(KEY)
        except StoreLocked:
            return
        assert (opened, read.opener) == (bytes(32), UnlockMethod.KEY)
