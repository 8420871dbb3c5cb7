"""Fake of the call store, in a dictionary."""

from dataclasses import replace
from datetime import datetime

from vyry.errors import RateLimited
from vyry.kernel.ids import DeviceId
from vyry.signals.call_store import CALL_RETENTION, MAX_RINGING, RING_TIMEOUT, UNANSWERED, Call, CallKey


class MemoryCalls:
    """CallStore; `missed` holds what devices are told."""

    def __init__(self) -> None:
        self.missed: list[CallKey] = []
        self._calls: dict[CallKey, Call] = {}
        self._since: dict[CallKey, datetime] = {}

    async def start_ringing(self, call: Call, now: datetime) -> None:
        """See CallStore."""
        ringing = [each for each in self._calls.values() if each.answered_by is None and each.key != call.key]
        if sum(each.key.caller == call.key.caller for each in ringing) >= MAX_RINGING:
            raise RateLimited(round(RING_TIMEOUT.total_seconds()))
        self._calls.setdefault(call.key, call)
        self._since.setdefault(call.key, now)

    async def find(self, key: CallKey) -> Call | None:
        """See CallStore."""
        return self._calls.get(key)

    async def claim(self, key: CallKey, device_id: DeviceId) -> bool:
        """See CallStore."""
        call = self._calls.get(key)
        if call is None or call.answered_by is not None:
            return False
        self._calls[key] = replace(call, answered_by=device_id)
        return True

    async def end(self, key: CallKey, now: datetime, *, is_missed: bool) -> bool:
        """See CallStore."""
        has_ended = await self.claim(key, UNANSWERED)
        if has_ended and is_missed:
            self.missed.append(key)
        return has_ended

    async def expire_unanswered(self, now: datetime, limit: int) -> list[Call]:
        """See CallStore."""
        late = [
            key
            for key, call in self._calls.items()
            if call.answered_by is None and self._since[key] <= now - RING_TIMEOUT
        ][:limit]
        for key in late:
            await self.end(key, now, is_missed=True)
        return [self._calls[key] for key in late]

    async def delete_finished(self, now: datetime, limit: int) -> int:
        """See CallStore."""
        old = [key for key, since in self._since.items() if since <= now - CALL_RETENTION][:limit]
        for key in old:
            del self._calls[key], self._since[key]
        return len(old)
