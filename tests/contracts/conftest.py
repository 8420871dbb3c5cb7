"""Contract suites run over every adapter: one parameter names it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.account_harness import AccountStores, open_stores
from tests.support.mail_store_harness import MailStoreHarness, open_mail_store, open_store
from vyry.mail.store import MailboxCaps, MailStore
from vyry.redis import guard


@pytest.fixture
def caps() -> MailboxCaps:
    """How much may wait in a mailbox; modules about caps have smaller ones."""
    return MailboxCaps()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def mail_url(request: pytest.FixtureRequest) -> str | None:
    """An empty, migrated database for the mail store under test; None for memory."""
    return None if request.param == "memory" else str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def redis_never_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis calls do not time out on a busy machine; other tests cover the timeout."""
    monkeypatch.setattr(guard, "DEADLINE_SECONDS", 30.0)


@pytest.fixture
async def mail_harness(mail_url: str | None, caps: MailboxCaps) -> AsyncIterator[MailStoreHarness]:
    """A mail store and all around it."""
    async with open_mail_store(mail_url, caps) as harness:
        yield harness


@pytest.fixture
async def second_node_store(mail_harness: MailStoreHarness, caps: MailboxCaps) -> AsyncIterator[MailStore]:
    """The mail store of another node on the same database (of memory there is only one)."""
    if not mail_harness.url:
        yield mail_harness.store
        return
    async with open_store(mail_harness.url, mail_harness.clock, caps) as store:
        yield store


@pytest.fixture
async def stores(mail_url: str | None) -> AsyncIterator[AccountStores]:
    """Every store about accounts, on an empty database."""
    async with open_stores(mail_url) as stores:
        yield stores
