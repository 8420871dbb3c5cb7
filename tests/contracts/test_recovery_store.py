"""Contract of stores of recovery codes: tries that count before they are judged, and one exchange of a code."""

import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
from tortoise.backends.base.client import BaseDBAsyncClient

from tests.support.account_harness import new_device, stored_number
from tests.support.database_dump import dump_all_rows
from tests.support.fake_clock import NOON
from vyry.accounts.account import SignupResult
from vyry.accounts.pin import Guesser, NewPin, Verifier
from vyry.accounts.recovery import CodeExchange, RecoveryName, TriesLeft, TriesUsedUp, TryLimit
from vyry.accounts.registration_lock import RegistrationLocked
from vyry.errors import Forbidden
from vyry.kernel.ids import UserId
from vyry.limits import Quota, QuotaWindow
from vyry.storage import raw_sql, recovery
from vyry.storage.accounts import TortoiseAccounts
from vyry.storage.database import open_database, transaction
from vyry.storage.models import AccountRow, DeviceRow
from vyry.storage.pins import TortoisePins
from vyry.storage.recovery import TortoiseRecovery
from vyry.storage.recovery_codes import save_recovery_code


HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NETWORK = TryLimit("network", Quota("recovery_network", (QuotaWindow(7, 3600),)))
NAME = TryLimit("name", Quota("recovery_tries", (QuotaWindow(5, 3600),)))
OTHER = TryLimit("other", NAME.quota)
STORE = TortoiseRecovery()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(autouse=True)
async def database(url: str) -> AsyncIterator[None]:
    async with open_database(url):
        yield


@pytest.fixture
async def ann() -> UserId:
    """An account with the code "right"."""
    made = await TortoiseAccounts().sign_up(stored_number(), new_device(), NOON)
    await AccountRow.filter(id=made.user_id).update(username="ann")
    async with transaction() as tx:
        await save_recovery_code(tx, made.user_id, "right", NOON)
    return made.user_id


async def recover(name: RecoveryName, given: str = "right", fresh: str = "next", days: int = 0) -> SignupResult | None:
    at = NOON + timedelta(days=days)
    return await STORE.recover(name, CodeExchange(given, fresh), new_device(f"r-{given}-{days}"), at, confirmed=at)


async def test_tries_count_until_none_has_counted_for_an_hour() -> None:
    assert [await STORE.count_try([NAME], NOON + n * MINUTE) for n in range(5)] == [
        TriesLeft(left) for left in range(4, -1, -1)
    ]
    until = NOON + 4 * MINUTE + HOUR

    assert await STORE.count_try([NAME], until - MINUTE) == TriesUsedUp(NAME, until)
    assert await STORE.count_try([NAME], until) == TriesLeft(4)


async def test_a_refused_try_counts_for_no_subject() -> None:
    for _ in range(5):
        await STORE.count_try([NETWORK, NAME], NOON)
    for _ in range(3):
        assert await STORE.count_try([NETWORK, NAME], NOON) == TriesUsedUp(NAME, NOON + HOUR)

    assert [await STORE.count_try([NETWORK, OTHER], NOON) for _ in range(3)] == [
        TriesLeft(4),
        TriesLeft(3),
        TriesUsedUp(NETWORK, NOON + HOUR),
    ]


async def test_a_right_code_restores_the_tries_of_the_name_and_its_own_of_the_network() -> None:
    for _ in range(5):
        await STORE.count_try([NETWORK, NAME], NOON)

    await STORE.restore_tries([NETWORK, NAME])

    assert await STORE.count_try([NAME], NOON) == TriesLeft(4)
    assert await STORE.count_try([NETWORK], NOON) == TriesLeft(2)


async def test_a_code_is_exchanged_once_and_all_other_devices_end(ann: UserId) -> None:
    made = await recover(RecoveryName(user_id=ann))

    assert made is not None
    assert (made.user_id, made.is_new_user, len(made.ended_devices)) == (ann, False, 1)
    assert await DeviceRow.filter(account_id=ann, ended_at=None).count() == 1
    assert await recover(RecoveryName(user_id=ann)) is None
    assert await recover(RecoveryName(username="ann"), "next", "last") is not None
    assert (await STORE.has_code(ann, "last"), await STORE.has_code(ann, "next")) == (True, False)


@pytest.mark.usefixtures("ann")
async def test_what_is_wrong_changes_nothing() -> None:
    before = await dump_all_rows()

    for name, given in (("ann", "wrong"), ("bob", "right"), ("ann", "")):
        assert await recover(RecoveryName(username=name), given) is None

    assert await dump_all_rows() == before


@pytest.mark.usefixtures("ann")
async def test_all_refusals_run_the_same_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    bob = await TortoiseAccounts().sign_up(stored_number("b" * 64), new_device("bob"), NOON)
    ran: list[str] = []

    async def recorded(connection: BaseDBAsyncClient, sql: str, *values: object) -> list[dict[str, Any]]:
        ran.append(re.sub(r"\s+", " ", sql))
        return await raw_sql.fetch(connection, sql, *values)

    monkeypatch.setattr(recovery, "fetch", recorded)
    seen = []
    for name in (RecoveryName(username="ann"), RecoveryName(username="nobody"), RecoveryName(user_id=bob.user_id)):
        ran.clear()
        assert await recover(name, "wrong") is None
        seen.append(tuple(ran))

    assert (len(set(seen)), len(seen[0])) == (1, 1)


async def test_a_suspended_account_and_a_registration_lock_refuse_and_change_nothing(ann: UserId) -> None:
    await TortoisePins().add(NewPin(Guesser(ann), NOON, Verifier("the pin", 1), registration_lock=True))
    before = await dump_all_rows()

    with pytest.raises(RegistrationLocked):
        await recover(RecoveryName(user_id=ann), days=7)

    assert await dump_all_rows() == before
    await AccountRow.filter(id=ann).update(suspended_at=NOON)
    with pytest.raises(Forbidden):
        await recover(RecoveryName(user_id=ann))


async def test_an_account_that_was_left_is_recovered_without_the_pin_and_keeps_it(ann: UserId) -> None:
    await TortoisePins().add(NewPin(Guesser(ann), NOON, Verifier("the pin", 1), registration_lock=True))
    await DeviceRow.filter(account_id=ann).update(last_seen_on=date(2020, 1, 1))

    assert await recover(RecoveryName(user_id=ann)) is not None
    assert await TortoisePins().load(ann) is not None
