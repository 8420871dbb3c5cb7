"""Call signals: who may send them to whom, and which sockets they reach."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgpack
import pytest

from tests.account_room import StandingClock
from tests.file_room import Counted
from tests.signals_room import ANN, BO, CY, Lists, Room, caller, open_room
from vyry.adapters.memory_calls import MemoryCalls
from vyry.devices.directory import CachedDeviceLists
from vyry.errors import NotFound, RateLimited
from vyry.ids import DeviceId, MailboxKey, UserId
from vyry.signals.calls import Calls


CALL = UUID(int=5)


@pytest.fixture
async def room() -> Room:
    return await open_room()


@dataclass
class Woken:
    """Who is woken by push."""

    boxes: list[set[MailboxKey]] = field(default_factory=list)

    async def ring(self, mailboxes: Collection[MailboxKey]) -> None:
        self.boxes.append(set(mailboxes))


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def calls(room: Room, woken: Woken, clock: StandingClock) -> Calls:
    return Calls(room.store, CachedDeviceLists(Lists()), (room.bell, woken), (MemoryCalls(), Counted()), clock)


async def heard(room: Room, count: int) -> list[tuple[set[int], str, int, bytes]]:
    """The next signals that sockets are sent: where, what, from which device, with what in it."""
    events: list[Any] = [await room.heard.next() for _ in range(count)]
    signals = [(boxes, msgpack.unpackb(frame)[1]) for _, boxes, frame in events]
    return [(boxes, said["kind"], said["deviceId"], said["content"]) for boxes, said in signals]


async def is_silent(room: Room) -> bool:
    """Whether nothing else was passed on."""
    with pytest.raises(TimeoutError):
        await room.heard.next(0.01)
    return True


async def test_a_signal_reaches_the_device_that_is_named(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 2), (BO, DeviceId(2)), CALL, "offer", b"sealed")

    _, boxes, frame = await room.heard.next()
    assert boxes == {22}
    assert msgpack.unpackb(frame)[1] == {
        "userId": str(ANN),
        "deviceId": 2,
        "callId": str(CALL),
        "kind": "offer",
        "content": b"sealed",
    }


async def test_a_signal_to_a_person_reaches_all_their_devices(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"sealed")

    assert (await room.heard.next())[1] == {21, 22}


async def test_a_signal_to_oneself_reaches_ones_other_devices(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 1), (ANN, None), CALL, "end", b"")

    assert (await room.heard.next())[1] == {12}


@pytest.mark.parametrize("to", [(CY, None), (UserId(uuid4()), None), (BO, DeviceId(9))])
async def test_whoever_is_out_of_reach_is_not_found(calls: Calls, to: tuple[UserId, DeviceId | None]) -> None:
    with pytest.raises(NotFound):
        await calls.signal(caller(ANN, 1), to, CALL, "offer", b"sealed")


async def test_the_first_answer_takes_the_call_and_the_others_stop(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 2), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller(BO, 2), (ANN, DeviceId(2)), CALL, "answer", b"yes")
    await calls.signal(caller(BO, 1), (ANN, DeviceId(2)), CALL, "answer", b"me too")

    assert await heard(room, 4) == [
        ({21, 22}, "offer", 2, b"offer"),
        ({12}, "answer", 2, b"yes"),
        ({21}, "end", 2, b""),
        ({21}, "end", 2, b""),
    ]
    assert await is_silent(room)


async def test_who_takes_a_call_may_say_so_again(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer")
    for content in (b"yes", b"yes, again"):
        await calls.signal(caller(BO, 2), (ANN, DeviceId(1)), CALL, "answer", content)
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer, again")

    _, answer, end, again, offer = await heard(room, 5)
    assert (answer[3], again[3]) == (b"yes", b"yes, again")
    assert (end[0], end[1]) == ({21}, "end")
    assert offer == ({22}, "offer", 1, b"offer, again")


async def test_a_caller_that_gives_up_stops_all_that_rang_whomever_it_names(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller(ANN, 1), (BO, DeviceId(1)), CALL, "end", b"bye")
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"late")

    assert (await heard(room, 2))[1] == ({21, 22}, "end", 1, b"bye")
    assert await is_silent(room)


async def test_an_answer_to_a_call_that_is_over_is_told_so(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 2), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller(ANN, 2), (BO, None), CALL, "end", b"bye")
    await calls.signal(caller(BO, 1), (ANN, DeviceId(2)), CALL, "answer", b"late")

    _, _, told = await heard(room, 3)
    assert told == ({21}, "end", 2, b"")


async def test_one_device_declines_for_all(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller(BO, 1), (ANN, DeviceId(1)), CALL, "end", b"no")

    assert (await heard(room, 3))[1:] == [({11}, "end", 1, b"no"), ({22}, "end", 1, b"")]


async def test_who_did_not_take_a_call_cannot_end_it(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller(BO, 2), (ANN, DeviceId(1)), CALL, "answer", b"yes")
    await heard(room, 3)

    await calls.signal(caller(BO, 1), (ANN, DeviceId(1)), CALL, "end", b"no")
    assert await is_silent(room)
    await calls.signal(caller(BO, 2), (ANN, DeviceId(1)), CALL, "end", b"bye")
    assert await heard(room, 1) == [({11}, "end", 2, b"bye")]


async def test_another_device_of_the_caller_cannot_end_what_was_taken(room: Room, calls: Calls) -> None:
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller(BO, 2), (ANN, DeviceId(1)), CALL, "answer", b"yes")
    await heard(room, 3)

    await calls.signal(caller(ANN, 2), (BO, DeviceId(2)), CALL, "end", b"no")
    assert await is_silent(room)
    await calls.signal(caller(ANN, 1), (BO, DeviceId(2)), CALL, "end", b"bye")
    assert await heard(room, 1) == [({22}, "end", 1, b"bye")]


async def test_a_call_that_nobody_takes_stops_after_a_minute(room: Room, calls: Calls, clock: StandingClock) -> None:
    await calls.signal(caller(ANN, 2), (BO, None), CALL, "offer", b"offer")
    clock.advance(seconds=59)
    assert await calls.lapse(10) == 0
    clock.advance(seconds=1)
    assert await calls.lapse(10) == 1

    assert (await heard(room, 2))[1] == ({21, 22}, "end", 2, b"")


async def test_devices_without_a_socket_are_woken_once_a_call(room: Room, calls: Calls, woken: Woken) -> None:
    await room.bell.release(MailboxKey(22), 1)

    for _ in range(3):
        await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer")

    assert woken.boxes == [{22}]


async def test_calls_without_end_are_refused_and_saying_an_offer_again_is_free(calls: Calls) -> None:
    for _ in range(100):
        await calls.signal(caller(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller(ANN, 1), (BO, None), CALL, "end", b"")

    for number in range(59):
        for kind in ("offer", "end"):
            await calls.signal(caller(ANN, 1), (BO, None), UUID(int=100 + number), kind, b"")
    with pytest.raises(RateLimited):
        await calls.signal(caller(ANN, 2), (BO, None), UUID(int=99), "offer", b"")
