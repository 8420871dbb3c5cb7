"""Call signals: who may send them to whom, and which sockets they reach."""

from uuid import UUID, uuid4

import msgpack
import pytest

from tests.signals_room import ANN, BO, CY, Lists, Room, caller, open_room
from vyry.devices.directory import CachedDeviceLists
from vyry.errors import NotFound
from vyry.ids import DeviceId, UserId
from vyry.signals.calls import Calls


CALL = UUID(int=5)


@pytest.fixture
async def room() -> Room:
    return await open_room()


@pytest.fixture
def calls(room: Room) -> Calls:
    return Calls(room.store, CachedDeviceLists(Lists()), room.bell)


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
