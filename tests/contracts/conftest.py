"""Contract suites run over every adapter: one parameter names it."""

from collections.abc import AsyncIterator

import pytest

from tests.account_room import AccountStores, open_stores
from tests.contracts.mail_room import MailRoom, open_room, open_store
from vyry.mail.store import Caps, MailStore


@pytest.fixture
def caps() -> Caps:
    """How much may wait in a mailbox; modules about caps have smaller ones."""
    return Caps()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def mail_url(request: pytest.FixtureRequest) -> str | None:
    """An empty, migrated database for the mail store under test; None for memory."""
    return None if request.param == "memory" else str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, Redis does not count as away: that is for other tests."""
    for module in ("limiter", "redis"):
        monkeypatch.setattr(f"vyry.adapters.{module}.DEADLINE_SECONDS", 30.0)


@pytest.fixture
async def room(mail_url: str | None, caps: Caps) -> AsyncIterator[MailRoom]:
    """A mail store and all around it."""
    async with open_room(mail_url, caps) as room:
        yield room


@pytest.fixture
async def twin(room: MailRoom, caps: Caps) -> AsyncIterator[MailStore]:
    """The mail store of another node on the same database (of memory there is only one)."""
    if not room.url:
        yield room.store
        return
    async with open_store(room.url, room.clock, caps) as store:
        yield store


@pytest.fixture
async def stores(mail_url: str | None) -> AsyncIterator[AccountStores]:
    """Every store about accounts, on an empty database."""
    async with open_stores(mail_url) as stores:
        yield stores
