"""The archive of an account: everything that the node stores about it, for its owner. It is read page by page, so memory stays bounded."""

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
    """Rows of one section of the archive, by column name. A section without rows has one empty page."""

    section: str
    rows: Sequence[Mapping[str, object]]


class Archive(Protocol):
    """Reads the rows. Each page is a snapshot of its own. Raises `Unavailable` while the database is down."""

    def pages(self, user_id: UserId, numbers: Collection[str]) -> AsyncIterator[Page]:
        """The pages of the account, section by section; `numbers` are the hashes of its number under every pepper."""
        ...

    async def record_export(self, caller: Caller, now: datetime) -> None:
        """Record an account event: this device exports the archive."""
        ...


@dataclass(frozen=True, slots=True)
class Export:
    """An opened archive. `pages` reads it; `grants` are the remaining quotas."""

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
        """Open the archive of the caller's account, with its number in plain text. Raises RateLimited, InvalidToken, Unavailable."""
        grant = await self._limiter.consume(EXPORT, str(caller.user_id))
        try:
            account = await self._accounts.load(caller.user_id)
        except NotFound:
            raise InvalidToken from None
        now = self._clock.now()
        await self._archive.record_export(caller, now)
        return Export(now, self._pages(caller.user_id, account.phone_sealed), [(EXPORT.name, grant)])

    async def _pages(self, user_id: UserId, sealed: bytes | None) -> AsyncIterator[Page]:
        number = None if sealed is None else self._pepper.unseal(sealed)
        hashes = () if number is None else self._pepper.hide(number).hashes.values()
        async for page in self._archive.pages(user_id, hashes):
            if page.section == "account":
                yield Page(page.section, [{**row, "phone_number": number and number.e164} for row in page.rows])
            else:
                yield page
