"""Fake of the deletion store, in dictionaries."""

from collections.abc import Collection, Sequence
from datetime import datetime

from tests.fakes.accounts import AccountState
from vyry.accounts.account import EndedDevice
from vyry.accounts.usernames import UsernameRules
from vyry.errors import NotFound
from vyry.kernel.ids import UserId


class MemoryDeletion:
    """DeletionStore: nothing is left that would have to be erased later."""

    def __init__(self, ledger: AccountState) -> None:
        self._ledger = ledger

    async def delete(self, user_id: UserId, numbers: Collection[str], now: datetime) -> Sequence[EndedDevice]:
        ledger = self._ledger
        account = ledger.accounts.pop(user_id, None)
        if account is None:
            raise NotFound
        left = ledger.reserved_names.items()
        ledger.reserved_names = {name: (None if of == user_id else of, day) for name, (of, day) in left}
        if account.username is not None:
            ledger.reserved_names[account.username] = None, UsernameRules(now).released_on
        ledger.pins.pins.pop(user_id, None)
        ledger.numbers = {number: user for number, user in ledger.numbers.items() if user != user_id}
        return ledger.end([device.shown.device for device in ledger.live_devices(user_id)])

    async def erase(self, now: datetime, limit: int) -> int:
        return 0
