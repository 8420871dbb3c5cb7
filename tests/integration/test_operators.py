"""What operators do to accounts takes effect on a running node, and stands in a log that nobody can change."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tortoise.exceptions import BaseORMException

from tests.support.account_harness import AccountStores, open_stores
from tests.support.fake_clock import NOON
from vyry.accounts.events import OperatorAction
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import UserId, new_id
from vyry.operator import accounts as operating
from vyry.operator.audit import read_acts, record_action
from vyry.storage.account_events import TortoiseAccountEvents
from vyry.storage.database import connection, transaction
from vyry.storage.models import AccountRow, DeviceRow


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def stores(url: str) -> AsyncIterator[AccountStores]:
    async with open_stores(url) as stores:
        yield stores


def make_act(name: str, user_id: UserId | None = None, at: datetime = NOON) -> OperatorAction:
    return OperatorAction(at, "olga", name, "a reason", user_id)


async def recorded_acts() -> list[str]:
    return [each.action async for each in read_acts(None)]


async def test_a_suspended_account_lets_nobody_sign_up_until_it_is_resumed(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    device = stores.last_device

    assert await operating.suspend_account(user, make_act("userSuspend", user))
    with pytest.raises(Forbidden):
        await stores.sign_up(refresh="r1")

    # What was refused changed nothing: the device is there when the account goes on.
    assert (await DeviceRow.get(id=device)).ended_at is None
    assert await operating.resume_account(user, make_act("userResume", user))
    assert not (await stores.sign_up(refresh="r1")).is_new_user
    assert await recorded_acts() == ["userSuspend", "userResume"]
    events = (await TortoiseAccountEvents().page(user, 10, None)).events
    assert [each.name for each in events] == ["signedUp", "deviceEnded", "resumed", "suspended", "signedUp"]


async def test_what_changes_nothing_is_not_logged(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    assert not await operating.resume_account(user, make_act("userResume", user))
    with pytest.raises(NotFound):
        await operating.suspend_account(UserId(new_id()), make_act("userSuspend"))

    assert await recorded_acts() == []


async def test_all_devices_end_and_the_account_stays(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    ended = await operating.end_all_devices(user, make_act("userEndDevices", user))

    assert [each.device for each in ended] == [stores.last_device]
    assert (await stores.devices.list(user)).devices == ()
    assert await recorded_acts() == ["userEndDevices"]


async def test_an_operators_deletion_is_like_the_owners(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    await operating.delete_account_as_operator(user, None, make_act("userDelete", user))

    assert (await AccountRow.get(id=user)).deleted_at == NOON
    assert (await stores.sign_up(refresh="r1")).user_id != user
    for named in (user, "a"):
        with pytest.raises(NotFound):
            await operating.find_account(named, None)


async def test_accounts_are_found_by_id_and_username_and_shown_without_a_number(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    await AccountRow.filter(id=user).update(username="ann")

    assert [await operating.find_account(user, None), await operating.find_account("ANN", None)] == [user, user]
    shown = await operating.load_account(user, None, make_act("userShow", user))

    assert (shown.username, shown.phone_number, [each.device_id for each in shown.devices]) == ("ann", None, [1])
    assert [each.user_id async for each in operating.list_accounts(make_act("userList"))] == [user]
    assert await recorded_acts() == ["userShow", "userList"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE operator_act SET reason = 'another'",
        "UPDATE operator_act SET reason = reason WHERE id = 1",
        "DELETE FROM operator_act",
        "DELETE FROM operator_act WHERE id = 1",
        "TRUNCATE operator_act",
        "TRUNCATE operator_act CASCADE",
        "REPLACE INTO operator_act (id, at, operator, act, reason) VALUES (1, '2020-01-01', 'nobody', 'nothing', '')",
        "INSERT INTO operator_act (id, at, operator, act, reason) VALUES (1, '2020-01-01', 'nobody', 'nothing', '')"
        " ON CONFLICT (id) DO UPDATE SET reason = 'another'",
        "UPDATE account_event SET name = 'another'",
    ],
)
async def test_the_database_refuses_to_change_what_happened(stores: AccountStores, change: str) -> None:
    await stores.sign_up()
    async with transaction() as tx:
        await record_action(tx, make_act("userShow"))

    with pytest.raises((BaseORMException, asyncpg.PostgresError)):
        await connection().execute_query(change)

    assert await recorded_acts() == ["userShow"]
    assert [each.reason async for each in read_acts(None)] == ["a reason"]


async def test_the_log_is_read_from_a_moment_on(stores: AccountStores) -> None:
    for hours in range(3):
        async with transaction() as tx:
            await record_action(tx, make_act(f"act{hours}", at=NOON + timedelta(hours=hours)))

    assert [each.action async for each in read_acts((NOON + timedelta(hours=1)).astimezone(UTC))] == ["act1", "act2"]
