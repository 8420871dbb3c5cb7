"""The profile and settings of an account, for its owner."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from vyry.accounts.account import Account, AccountChange, AccountListener, AccountStore, Caller
from vyry.accounts.phone import Pepper
from vyry.accounts.usernames import Usernames
from vyry.errors import InvalidRequest


_USERNAME: Final = re.compile(r"[a-z0-9_.]{3,30}")
#: The problem text of an invalid username.
USERNAME_RULE: Final = "must be 3 to 30 of the letters a-z, digits, _ and ."

#: The settings of a new account (docs/protocol.md).
DEFAULT_SETTINGS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "messagesFrom": "everyone",
        "discoverableByPhone": True,
        "showPresence": False,
        "deliveryReceipts": True,
        "readReceipts": True,
        "typingIndicators": True,
    }
)


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """The account, its masked number, and all settings with defaults filled in."""

    account: Account
    phone_number: str | None
    settings: Mapping[str, object]


def read_username(text: str) -> str:
    """The canonical form of a username: lower case. Raises InvalidRequest."""
    username = text.lower() if text.isascii() else ""
    if not _USERNAME.fullmatch(username):
        raise InvalidRequest(fields=[{"field": "username", "problem": USERNAME_RULE}])
    return username


class Accounts:
    """Shows and changes the caller's own account."""

    def __init__(self, store: AccountStore, pepper: Pepper, listener: AccountListener, names: Usernames) -> None:
        self._store = store
        self._pepper = pepper
        self._listener = listener
        self.names = names

    async def load(self, caller: Caller) -> OwnAccount:
        """The caller's account."""
        return self._own(await self._store.load(caller.user_id))

    async def change(self, caller: Caller, change: AccountChange) -> OwnAccount:
        """Change the given fields only. Raises InvalidRequest, UsernameTaken, RateLimited."""
        username = change.profile.get("username")
        if isinstance(username, str):
            change = AccountChange({**change.profile, "username": read_username(username)}, change.settings)
        account = await self._store.change(caller.user_id, change, self.names.rules())
        if change.settings != {}:
            await self._listener.accounts_changed({caller.user_id})
        return self._own(account)

    def _own(self, account: Account) -> OwnAccount:
        number = None if account.phone_sealed is None else self._pepper.unseal(account.phone_sealed).masked
        return OwnAccount(account, number, {**DEFAULT_SETTINGS, **account.settings})
