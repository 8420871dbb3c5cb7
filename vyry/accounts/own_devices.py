"""The devices of an account, for their owner."""

from vyry.accounts.account import Caller, Device, DeviceListing, DeviceStore
from vyry.accounts.device_status import SessionRevocations
from vyry.clock import Clock
from vyry.errors import Forbidden, InvalidToken, NotFound
from vyry.kernel.ids import DeviceId


class OwnDevices:
    """Lists, renames and ends the caller's devices."""

    def __init__(self, store: DeviceStore, revocations: SessionRevocations, clock: Clock) -> None:
        self._store = store
        self._revocations = revocations
        self._clock = clock

    async def list(self, caller: Caller) -> DeviceListing:
        """All live devices of the caller's account and the epoch of its device list."""
        return await self._store.list(caller.user_id)

    async def rename(self, caller: Caller, device_id: DeviceId, name: str) -> Device:
        """Rename a device of the account. Raises NotFound."""
        await self._store.rename(caller.user_id, device_id, name)
        return await self._find(caller, device_id)

    async def end(self, caller: Caller, device_id: DeviceId) -> None:
        """End a device; a linked device may end itself only. Its tokens and sockets end within a second. Raises NotFound, Forbidden."""
        target = await self._find(caller, device_id)
        if not caller.is_primary and target.device != caller.device:
            raise Forbidden
        await self._revocations.announce([await self._store.end(caller.user_id, target.device, self._clock.now())])

    async def end_current(self, caller: Caller) -> None:
        """End the caller's own device. Raises InvalidToken if it has ended already."""
        try:
            ended = await self._store.end(caller.user_id, caller.device, self._clock.now())
        except NotFound:
            raise InvalidToken from None
        await self._revocations.announce([ended])

    async def _find(self, caller: Caller, device_id: DeviceId) -> Device:
        listing = await self._store.list(caller.user_id)
        for device in listing.devices:
            if device.device_id == device_id:
                return device
        raise NotFound
