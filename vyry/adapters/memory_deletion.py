"""The end of accounts in dictionaries: the twin of the database adapter, for tests."""

from collections.abc import Collection, Sequence
from datetime import datetime

from vyry.accounts.account import EndedDevice
from vyry.adapters.memory_accounts import AccountLedger
from vyry.errors import NotFound
from vyry.ids import UserId


class MemoryDeletion:
    """DeletionStore: nothing is left that would have to be erased later."""

    def __init__(self, ledger: AccountLedger) -> None:
        self._ledger = ledger

    async def delete(self, user_id: UserId, numbers: Collection[str], now: datetime) -> Sequence[EndedDevice]:  # noqa: ARG002 - nobody asks when, and codes are kept elsewhere
        ledger = self._ledger
        if ledger.accounts.pop(user_id, None) is None:
            raise NotFound
        ledger.pins.pins.pop(user_id, None)
        ledger.numbers = {number: user for number, user in ledger.numbers.items() if user != user_id}
        return ledger.end([device.shown.device for device in ledger.of(user_id)])

    async def erase(self, now: datetime, limit: int) -> int:  # noqa: ARG002 - the protocol's signature
        return 0
