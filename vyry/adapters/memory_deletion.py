"""The end of accounts in dictionaries: the twin of the database adapter, for tests."""

from collections.abc import Collection, Sequence
from datetime import datetime

from vyry.accounts.account import EndedDevice
from vyry.accounts.names import NameRules
from vyry.adapters.memory_accounts import AccountLedger
from vyry.errors import NotFound
from vyry.ids import UserId


class MemoryDeletion:
    """DeletionStore: nothing is left that would have to be erased later."""

    def __init__(self, ledger: AccountLedger) -> None:
        self._ledger = ledger

    async def delete(self, user_id: UserId, numbers: Collection[str], now: datetime) -> Sequence[EndedDevice]:  # noqa: ARG002 - codes are kept elsewhere
        ledger = self._ledger
        account = ledger.accounts.pop(user_id, None)
        if account is None:
            raise NotFound
        left = ledger.resting.items()
        ledger.resting = {name: (None if of == user_id else of, day) for name, (of, day) in left}
        if account.username is not None:
            ledger.resting[account.username] = None, NameRules(now).free_on
        ledger.pins.pins.pop(user_id, None)
        ledger.numbers = {number: user for number, user in ledger.numbers.items() if user != user_id}
        return ledger.end([device.shown.device for device in ledger.of(user_id)])

    async def erase(self, now: datetime, limit: int) -> int:  # noqa: ARG002 - the protocol's signature
        return 0
