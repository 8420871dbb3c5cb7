"""The archive of an account: all that the node holds about it, for its owner. It is read page by page, so that its size costs no memory."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vyry.accounts.account import AccountStore, Caller
from vyry.accounts.phone import Pepper
from vyry.clock import Clock
from vyry.errors import InvalidToken, NotFound
from vyry.kernel.ids import UserId
from vyry.limits import EXPORT, Grant, Limiter


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a section of the archive, by the names of their columns. A section without any has one empty page."""

    section: str
    rows: Sequence[Mapping[str, object]]


class Archive(Protocol):
    """Where everything is read. Each page is of a moment of its own. Raises `Unavailable` when the database is away."""

    def pages(self, user_id: UserId, numbers: Collection[str]) -> AsyncIterator[Page]:
        """Everything about the account, section after section; `numbers` are the hashes that its number may stand under."""
        ...

    async def record_export(self, caller: Caller, now: datetime) -> None:
        """Note, for the owner, that this device takes an archive."""
        ...


@dataclass(frozen=True, slots=True)
class Export:
    """An archive about to be read."""

    started_at: datetime
    pages: AsyncIterator[Page]
    grants: list[tuple[str, Grant]]


class Exports:
    """Opens archives."""

    def __init__(
        self, archive: Archive, accounts: AccountStore, pepper: Pepper, limiter: Limiter, clock: Clock
    ) -> None:
        self._archive = archive
        self._accounts = accounts
        self._pepper = pepper
        self._limiter = limiter
        self._clock = clock

    async def open(self, caller: Caller) -> Export:
        """The archive of the caller's account, with its number in clear. Raises RateLimited, InvalidToken, Unavailable."""
        grant = await self._limiter.consume(EXPORT, str(caller.user_id))
        try:
            account = await self._accounts.load(caller.user_id)
        except NotFound:
            raise InvalidToken from None
        now = self._clock.now()
        await self._archive.record_export(caller, now)
        return Export(now, self._pages(caller.user_id, account.phone_sealed), [(EXPORT.name, grant)])

    async def _pages(self, user_id: UserId, sealed: bytes) -> AsyncIterator[Page]:
        number = self._pepper.unseal(sealed)
        async for page in self._archive.pages(user_id, self._pepper.hide(number).hashes.values()):
            if page.section == "account":
                yield Page(page.section, [{**row, "phone_number": number.e164} for row in page.rows])
            else:
                yield page
