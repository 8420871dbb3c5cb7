"""Account stores in bad company: everything at once for one account, a database that is away, and a thief with a copy of the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.account_harness import (
    NUMBER,
    WEEK,
    AccountHarness,
    AccountStores,
    new_device,
    open_stores,
    stored_number,
)
from tests.support.fake_clock import NOON
from vyry.accounts.account import AccountChange
from vyry.accounts.otp import Purpose
from vyry.accounts.sessions import Rotation
from vyry.accounts.usernames import UsernameRules
from vyry.errors import NotFound, Unavailable
from vyry.kernel.ids import UserId, new_id


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def stores(url: str) -> AsyncIterator[AccountStores]:
    async with open_stores(url) as stores:
        yield stores


async def test_everything_at_once_for_one_account_ends_without_deadlock(stores: AccountStores) -> None:
    user = (await stores.sign_up(refresh="r")).user_id
    device = stores.last_device

    outcomes = await asyncio.gather(
        *(stores.accounts.sign_up(stored_number(), new_device(f"r{number}"), NOON) for number in range(8)),
        *(stores.sessions.rotate(Rotation("r", f"s{number}", uuid4(), NOON, WEEK)) for number in range(8)),
        *(
            stores.accounts.change(user, AccountChange({"bio": str(number)}), UsernameRules(NOON))
            for number in range(8)
        ),
        *(stores.devices.end(user, device, NOON) for _ in range(3)),
        *(stores.sessions.record_last_seen([device], NOON.date()) for _ in range(3)),
        return_exceptions=True,
    )

    problems = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [problem for problem in problems if not isinstance(problem, NotFound)] == []
    assert len((await stores.devices.list(user)).devices) == 1


Question = Callable[[AccountStores], Awaitable[object]]
QUESTIONS: dict[str, Question] = {
    "sign up": lambda stores: stores.accounts.sign_up(stored_number(), new_device(), NOON),
    "load": lambda stores: stores.accounts.load(UserId(new_id())),
    "change": lambda stores: stores.accounts.change(UserId(new_id()), AccountChange({"bio": "x"}), UsernameRules(NOON)),
    "list": lambda stores: stores.devices.list(UserId(new_id())),
    "end": lambda stores: stores.devices.end(UserId(new_id()), new_id(), NOON),
    "standings": lambda stores: stores.sessions.load_statuses([new_id()]),
    "rotate": lambda stores: stores.sessions.rotate(Rotation("a", "b", uuid4(), NOON, WEEK)),
    "guess": lambda stores: stores.otp.judge_guess(new_id(), Purpose.LOGIN, (b"", b""), NOON),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_database_that_is_away_is_unavailable(name: str) -> None:
    async with open_stores("postgres://vyry@127.0.0.1:9/vyry") as stores:
        with pytest.raises(Unavailable):
            await QUESTIONS[name](stores)


async def test_a_copy_of_the_database_names_no_number_and_no_token(sqlite_url: str) -> None:
    async with open_stores(sqlite_url) as stores:
        harness = AccountHarness(stores)
        session = await harness.sign_up()
        fresh = await harness.sessions.refresh(session.tokens.refresh, uuid4())

    folder = Path(sqlite_url.removeprefix("sqlite://")).parent
    stolen = b"".join(path.read_bytes() for path in folder.glob("vyry.db*"))
    secrets = [
        NUMBER,
        NUMBER[1:],
        NUMBER[1:8],
        NUMBER[1:7],
        "192.0.2.",
        session.tokens.access,
        session.tokens.refresh,
        fresh.refresh,
    ]
    assert [secret for secret in secrets if secret.encode() in stolen] == []
    assert b"refresh_token" in stolen
