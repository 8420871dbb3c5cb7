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

from vyry.client.chain import Entry, Point, digest
from vyry.client.circles import Circles
from vyry.client.device import Me
from vyry.client.device_lists import DeviceList, DeviceLists, KnownDevices, ListedDevice
from vyry.client.inbox import Inbox, Taken
from vyry.client.journal import Journal
from vyry.client.line import Line, Mailbox
from vyry.client.live import Live
from vyry.client.peers import Peers, read_bundle
from vyry.client.refusals import ClientError, StoreLocked, Unreachable
from vyry.client.rest import Rest
from vyry.client.store import Store
from vyry.client.store_key import STORE_KEY, Opener, WrappedKey
from vyry.client.unsealing import Heard, Letter, Unsealed
from vyry.signal_protocol.keys import OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, SigningPair
from vyry.signal_protocol.refusals import ConversationForged, Refusal
from vyry.signal_protocol.sessions import PeerDevice, Sessions


NOW: Final = 1_800_000_000_000
ME, BO, HERE = UUID(int=1), UUID(int=2), UUID(int=7)
KEY: Final = bytes(range(32))
#: Devices with keys that are the same in each run: Bo's, and this one.
DEVICE: Final = OwnDevice(Address(BO, 1), 77, SigningPair.of(bytes([1]) * 32), DhPair.of(bytes([2]) * 32))
OWN: Final = Me(ME, 1, 78, SigningPair.of(bytes([3]) * 32), DhPair.of(bytes([4]) * 32), Point.first(HERE), 1, bytes(32))
PEER: Final = PeerDevice(DEVICE.identity.public, DEVICE.dh.public, DEVICE.registration_id)
Result = TypeVar("Result")


@cache
def _profile() -> Path:
    """A registered device that holds Bo's key and knows Bo's list."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    with Store(folder / "vyry.db", KEY) as store:
        OWN.keep(store)
        Peers(store).keep_identity(BO, DEVICE.identity.public)
        row = ListedDevice(DEVICE.registration_id, DEVICE.dh.public)
        KnownDevices(store).keep(BO, DeviceList(1, DEVICE.identity.public, {1: row}), NOW)
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
    return [*store.rows("SELECT kind, name, sealed FROM value"), *store.rows("SELECT * FROM event")]


def _act(store: Store, act: Callable[[], Result], *refusals: type[Exception]) -> Result | None:
    """What it answers; None when it is refused, and then nothing has changed."""
    before = _rows(store)
    try:
        return act()
    except refusals:
        assert _rows(store) == before
        return None


def _hear_all(store: Store) -> None:
    """What is kept to be told can be told."""
    journal = Journal(store)
    while (event := journal.next()) is not None:
        journal.take(event.number)


def _told(raw: bytes) -> dict[str, Any]:
    """An answer as the client's HTTP library reads it."""
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _rest(store: Store) -> Rest:
    """It asks nobody here."""
    return Rest(cast(Any, None), "http://node", store)


def _ended(work: Coroutine[Any, Any, Result]) -> Result:
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
            lists, rest, me = DeviceLists(store, _rest(store), lambda: NOW), _rest(store), Me.of(store)

            def taken(lists: DeviceLists = lists, rest: Rest = rest, me: Me = me, whose: UUID = user_id) -> DeviceList:
                with rest.shaped():
                    return _ended(lists._taken(me, whose, said))

            listed = _act(store, taken, Unreachable)
            if listed is not None:
                assert len({each.dh_key for each in listed.devices.values()}) == len(listed.devices)
                assert all(Address(user_id, number).pack() for number in listed.devices)
                listed.fingerprint(user_id)
                assert KnownDevices(store).current(user_id) in (listed, None) or user_id == BO
            _hear_all(store)


def conversation(raw: bytes) -> None:
    """The answer of GET /conversations/{id}, twice: what is taken is taken again, and a direct one has two people."""
    said = _told(raw)
    with _store() as store:
        circles, rest = Circles(store, _rest(store), lambda: NOW), _rest(store)

        def kept() -> Any:
            with rest.shaped():
                return circles.keep({**said, "conversationId": str(HERE)})

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
            with rest.shaped():
                bundle = read_bundle(BO, _told(raw))
            sessions = Sessions().begin(OWN.own, bundle, NOW)
        except (Unreachable, Refusal):
            return
        assert sessions.active is not None
        assert sessions.active.peer.dh_key == bundle.identity_dh_key
        sessions.seal(b"hello")


def node_frame(raw: bytes) -> None:
    """A frame of the node to a device, its entries in an unbroken chain: kept whole, or refused."""
    with _store() as store:
        inbox = Inbox(store)

        def point() -> Point:
            found = Me.of(store).point
            assert found is not None
            return found

        async def take(entries: Sequence[Entry]) -> Taken:
            return inbox.take(entries, NOW)

        async def greeted(last: UUID | None) -> None:
            inbox.greeted(last, NOW)

        async def drained() -> None:
            return None

        async def adopt(cursor: Point) -> None:
            inbox.adopt(cursor)

        async def send(_octets: bytes) -> None:
            return None

        news: Any = SimpleNamespace(set=lambda: None)
        line = Line(_rest(store), Mailbox(point, greeted, drained, take, adopt), Live(news, lambda: NOW))
        socket: Any = SimpleNamespace(send_bytes=send)

        async def hear() -> None:
            await line._hear(socket, *line._read(_chained(raw, point())))

        _act(store, lambda: _ended(hear()), ClientError)
        assert type(point().seq) is int
        _hear_all(store)


def _chained(raw: bytes, point: Point) -> bytes:
    """The frame with heads that follow, as far as its entries have what makes one."""
    try:
        frame = msgpack.unpackb(raw)
        for entry in frame["payload"]["entries"]:
            entry["seq"] = point.seq + 1
            entry["head"] = sha256(point.head + entry["seq"].to_bytes(8, "big") + digest(entry)).digest()
            point = Point(entry["seq"], entry["head"])
        return cast(bytes, msgpack.packb(frame))
    except Exception:  # noqa: BLE001  whatever it is, the client gets it as it came
        return raw


def said_content(raw: bytes) -> None:
    """What was in a message of another device, in a session: it counts, or is refused by name and counts for nothing."""
    with _store() as store:
        inbox = Inbox(store)
        letter = Letter(DEVICE.address, HERE, UUID(int=9), b"\x01\x02" + bytes(64), NOW)
        unsealed = Unsealed(raw, Heard(bytes(8), PEER))

        def taken() -> bool:
            with store.attempt():
                inbox.effects.take(Me.of(store), letter, unsealed)
            return True

        is_taken = _act(store, taken, Refusal)
        _hear_all(store)
        if is_taken:
            assert json.loads(raw, object_pairs_hook=_once)["conversationId"] == str(HERE)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a name stands twice"
    return dict(pairs)


@cache
def wrapped_key() -> bytes:
    """The file of a profile that a key opens."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / STORE_KEY
        WrappedKey.wrap(bytes(32), Opener.KEY, None, KEY).write(path)
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
        assert (opened, read.opener) == (bytes(32), Opener.KEY)
