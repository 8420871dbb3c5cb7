"""Calls that ring, in a dictionary: what the other call store is compared with."""

from dataclasses import replace
from datetime import datetime

from vyry.errors import RateLimited
from vyry.ids import DeviceId
from vyry.signals.ringing import KNOWN_FOR, MOST_RINGING, NOBODY, RINGS_FOR, Call, CallKey


class MemoryCalls:
    """CallStore; `missed` holds what devices are told."""

    def __init__(self) -> None:
        self.missed: list[CallKey] = []
        self._calls: dict[CallKey, Call] = {}
        self._since: dict[CallKey, datetime] = {}

    async def ring(self, call: Call, now: datetime) -> None:
        """See CallStore."""
        ringing = [each for each in self._calls.values() if each.taken_by is None and each.key != call.key]
        if sum(each.key.caller == call.key.caller for each in ringing) >= MOST_RINGING:
            raise RateLimited(round(RINGS_FOR.total_seconds()))
        self._calls.setdefault(call.key, call)
        self._since.setdefault(call.key, now)

    async def find(self, key: CallKey) -> Call | None:
        """See CallStore."""
        return self._calls.get(key)

    async def take(self, key: CallKey, device_id: DeviceId) -> bool:
        """See CallStore."""
        call = self._calls.get(key)
        if call is None or call.taken_by is not None:
            return False
        self._calls[key] = replace(call, taken_by=device_id)
        return True

    async def end(self, key: CallKey, now: datetime, *, is_missed: bool) -> bool:  # noqa: ARG002  the protocol's signature
        """See CallStore."""
        has_ended = await self.take(key, NOBODY)
        if has_ended and is_missed:
            self.missed.append(key)
        return has_ended

    async def lapse(self, now: datetime, limit: int) -> list[Call]:
        """See CallStore."""
        late = [
            key for key, call in self._calls.items() if call.taken_by is None and self._since[key] <= now - RINGS_FOR
        ][:limit]
        for key in late:
            await self.end(key, now, is_missed=True)
        return [self._calls[key] for key in late]

    async def forget(self, now: datetime, limit: int) -> int:
        """See CallStore."""
        old = [key for key, since in self._since.items() if since <= now - KNOWN_FOR][:limit]
        for key in old:
            del self._calls[key], self._since[key]
        return len(old)
