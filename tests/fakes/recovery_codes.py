"""Fake check of recovery codes, where no account has one."""

from vyry.accounts.account import Caller
from vyry.errors import InvalidRecoveryCode


class NoRecoveryCodes:
    """RecoveryCheck."""

    async def check(self, caller: Caller, code: str) -> None:
        raise InvalidRecoveryCode(4)
