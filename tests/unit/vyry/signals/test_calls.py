"""Call signals: who may send them to whom, and which sockets they reach."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgpack
import pytest

from tests.fakes.calls import MemoryCalls
from tests.support.fake_clock import FakeClock
from tests.support.signals_harness import (
    ANN,
    BO,
    CY,
    SignalsHarness,
    StaticDeviceLists,
    caller_of,
    open_signals_harness,
)
from vyry.devices.device_lists import CachedDeviceLists
from vyry.errors import NotFound, RateLimited
from vyry.in_process.limiter import InProcessLimiter
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.signals.calls import Calls


CALL = UUID(int=5)


@pytest.fixture
async def harness() -> SignalsHarness:
    return await open_signals_harness()


@dataclass
class RecordingWaker:
    """Who is woken by push."""

    boxes: list[set[MailboxKey]] = field(default_factory=list)

    async def wake_for_call(self, mailboxes: Collection[MailboxKey]) -> None:
        self.boxes.append(set(mailboxes))


@pytest.fixture
def woken() -> RecordingWaker:
    return RecordingWaker()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def calls(harness: SignalsHarness, woken: RecordingWaker, clock: FakeClock) -> Calls:
    return Calls(
        MemoryCalls(),
        conversations=harness.store,
        device_lists=CachedDeviceLists(StaticDeviceLists()),
        notifier=harness.notifier,
        waker=woken,
        limiter=InProcessLimiter(),
        clock=clock,
    )


async def received_signals(harness: SignalsHarness, count: int) -> list[tuple[set[int], str, int, bytes]]:
    """The next signals that sockets are sent: where, what, from which device, with what in it."""
    events: list[Any] = [await harness.listener.next_event() for _ in range(count)]
    signals = [(boxes, msgpack.unpackb(frame)[1]) for _, boxes, frame in events]
    return [(boxes, said["kind"], said["deviceId"], said["content"]) for boxes, said in signals]


async def is_silent(harness: SignalsHarness) -> bool:
    """Whether nothing else was passed on."""
    with pytest.raises(TimeoutError):
        await harness.listener.next_event(0.01)
    return True


async def test_a_signal_reaches_the_device_that_is_named(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 2), (BO, DeviceId(2)), CALL, "offer", b"sealed")

    _, boxes, frame = await harness.listener.next_event()
    assert boxes == {22}
    assert msgpack.unpackb(frame)[1] == {
        "userId": str(ANN),
        "deviceId": 2,
        "callId": str(CALL),
        "kind": "offer",
        "content": b"sealed",
    }


async def test_a_signal_to_a_person_reaches_all_their_devices(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"sealed")

    assert (await harness.listener.next_event())[1] == {21, 22}


async def test_a_signal_to_oneself_reaches_ones_other_devices(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 1), (ANN, None), CALL, "end", b"")

    assert (await harness.listener.next_event())[1] == {12}


@pytest.mark.parametrize("to", [(CY, None), (UserId(uuid4()), None), (BO, DeviceId(9))])
async def test_whoever_is_out_of_reach_is_not_found(calls: Calls, to: tuple[UserId, DeviceId | None]) -> None:
    with pytest.raises(NotFound):
        await calls.signal(caller_of(ANN, 1), to, CALL, "offer", b"sealed")


async def test_the_first_answer_takes_the_call_and_the_others_stop(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 2), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller_of(BO, 2), (ANN, DeviceId(2)), CALL, "answer", b"yes")
    await calls.signal(caller_of(BO, 1), (ANN, DeviceId(2)), CALL, "answer", b"me too")

    assert await received_signals(harness, 4) == [
        ({21, 22}, "offer", 2, b"offer"),
        ({12}, "answer", 2, b"yes"),
        ({21}, "end", 2, b""),
        ({21}, "end", 2, b""),
    ]
    assert await is_silent(harness)


async def test_who_takes_a_call_may_say_so_again(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer")
    for content in (b"yes", b"yes, again"):
        await calls.signal(caller_of(BO, 2), (ANN, DeviceId(1)), CALL, "answer", content)
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer, again")

    _, answer, end, again, offer = await received_signals(harness, 5)
    assert (answer[3], again[3]) == (b"yes", b"yes, again")
    assert (end[0], end[1]) == ({21}, "end")
    assert offer == ({22}, "offer", 1, b"offer, again")


async def test_a_caller_that_gives_up_stops_all_that_rang_whomever_it_names(
    harness: SignalsHarness, calls: Calls
) -> None:
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller_of(ANN, 1), (BO, DeviceId(1)), CALL, "end", b"bye")
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"late")

    assert (await received_signals(harness, 2))[1] == ({21, 22}, "end", 1, b"bye")
    assert await is_silent(harness)


async def test_an_answer_to_a_call_that_is_over_is_told_so(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 2), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller_of(ANN, 2), (BO, None), CALL, "end", b"bye")
    await calls.signal(caller_of(BO, 1), (ANN, DeviceId(2)), CALL, "answer", b"late")

    _, _, told = await received_signals(harness, 3)
    assert told == ({21}, "end", 2, b"")


async def test_one_device_declines_for_all(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller_of(BO, 1), (ANN, DeviceId(1)), CALL, "end", b"no")

    assert (await received_signals(harness, 3))[1:] == [({11}, "end", 1, b"no"), ({22}, "end", 1, b"")]


async def test_who_did_not_take_a_call_cannot_end_it(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller_of(BO, 2), (ANN, DeviceId(1)), CALL, "answer", b"yes")
    await received_signals(harness, 3)

    await calls.signal(caller_of(BO, 1), (ANN, DeviceId(1)), CALL, "end", b"no")
    assert await is_silent(harness)
    await calls.signal(caller_of(BO, 2), (ANN, DeviceId(1)), CALL, "end", b"bye")
    assert await received_signals(harness, 1) == [({11}, "end", 2, b"bye")]


async def test_another_device_of_the_caller_cannot_end_what_was_taken(harness: SignalsHarness, calls: Calls) -> None:
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller_of(BO, 2), (ANN, DeviceId(1)), CALL, "answer", b"yes")
    await received_signals(harness, 3)

    await calls.signal(caller_of(ANN, 2), (BO, DeviceId(2)), CALL, "end", b"no")
    assert await is_silent(harness)
    await calls.signal(caller_of(ANN, 1), (BO, DeviceId(2)), CALL, "end", b"bye")
    assert await received_signals(harness, 1) == [({22}, "end", 1, b"bye")]


async def test_a_call_that_nobody_takes_stops_after_a_minute(
    harness: SignalsHarness, calls: Calls, clock: FakeClock
) -> None:
    await calls.signal(caller_of(ANN, 2), (BO, None), CALL, "offer", b"offer")
    clock.advance(seconds=59)
    assert await calls.expire_unanswered(10) == 0
    clock.advance(seconds=1)
    assert await calls.expire_unanswered(10) == 1

    assert (await received_signals(harness, 2))[1] == ({21, 22}, "end", 2, b"")


async def test_devices_without_a_socket_are_woken_once_a_call(
    harness: SignalsHarness, calls: Calls, woken: RecordingWaker
) -> None:
    await harness.notifier.unregister_socket(MailboxKey(22), 1)

    for _ in range(3):
        await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer")

    assert woken.boxes == [{22}]


async def test_calls_without_end_are_refused_and_saying_an_offer_again_is_free(calls: Calls) -> None:
    for _ in range(100):
        await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "offer", b"offer")
    await calls.signal(caller_of(ANN, 1), (BO, None), CALL, "end", b"")

    for number in range(59):
        for kind in ("offer", "end"):
            await calls.signal(caller_of(ANN, 1), (BO, None), UUID(int=100 + number), kind, b"")
    with pytest.raises(RateLimited):
        await calls.signal(caller_of(ANN, 2), (BO, None), UUID(int=99), "offer", b"")
