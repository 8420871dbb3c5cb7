"""An archive is streamed, and rate limited."""

import json
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from uuid import uuid4

import pytest

from tests.support.account_harness import NUMBER, AccountHarness, open_stores
from tests.support.fake_clock import NOON
from vyry.accounts.account import Caller
from vyry.accounts.export import Exports, Page
from vyry.errors import RateLimited
from vyry.in_process.limiter import InProcessLimiter
from vyry.kernel.ids import UserId
from vyry.limits import EXPORT
from web.wire.archive_writer import write_archive


PROOF = {"proven_on": NOON.date()}
UNSET = ("username", "display_name", "bio", "picture_attachment_id", "sealed_profile", "suite", "identity_key")
ACCOUNT: dict[str, object] = {
    **dict.fromkeys(UNSET),
    "user_id": uuid4(),
    "phone_number": NUMBER,
    "settings": {},
    "device_list_epoch": 1,
    "last_device_id": 1,
    "created_at": NOON,
    "suspended_at": None,
}


class CountingArchive:
    """An Archive that counts the pages it yields."""

    def __init__(self, *pages: Page) -> None:
        self._pages = pages
        self.given = 0

    async def pages(self, user_id: UserId, numbers: Collection[str]) -> AsyncIterator[Page]:
        for page in self._pages:
            self.given += 1
            yield page

    async def record_export(self, caller: Caller, now: datetime) -> None: ...


async def test_sections_pages_and_nothings_become_one_json_object() -> None:
    pages = [
        Page("account", [ACCOUNT]),
        Page("pin", []),
        Page("proven_networks", []),
        Page("proven_networks", [PROOF, PROOF]),
        Page("proven_networks", []),
        Page("proven_networks", [PROOF]),
        Page("codes", []),
    ]

    told = json.loads(
        b"".join([piece async for piece in write_archive(NOON, CountingArchive(*pages).pages(UserId(uuid4()), []))])
    )

    assert told["account"]["phoneNumber"] == NUMBER
    assert (told["pin"], told["codes"], len(told["provenNetworks"])) == (None, [], 3)


async def test_no_page_is_read_before_the_one_ahead_of_it_was_written() -> None:
    shelves = CountingArchive(*[Page("proven_networks", [PROOF])] * 1000)

    pieces = write_archive(NOON, shelves.pages(UserId(uuid4()), []))
    for _ in range(10):
        await anext(pieces)

    assert shelves.given == 9
    await pieces.aclose()


async def test_an_account_has_five_archives_an_hour() -> None:
    async with open_stores(None) as stores:
        harness = AccountHarness(stores)
        session = await harness.sign_up()
        caller = await harness.sessions.authenticate(session.tokens.access)
        exports = Exports(CountingArchive(), stores.accounts, harness.pepper, InProcessLimiter(), harness.clock)

        for _ in range(EXPORT.windows[0].limit):
            await exports.open(caller)

        with pytest.raises(RateLimited):
            await exports.open(caller)
