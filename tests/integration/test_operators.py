"""What operators do to accounts takes effect on a running node, and stands in a log that nobody can change."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tortoise.exceptions import BaseORMException

from tests.account_room import NOON, AccountStores, open_stores
from vyry.accounts.acts import OperatorAct
from vyry.adapters import operating
from vyry.adapters.account_events import TortoiseAccountEvents
from vyry.adapters.database import connection, transaction
from vyry.adapters.operator_acts import note_act, read_acts
from vyry.adapters.rows import AccountRow, DeviceRow
from vyry.errors import Forbidden, NotFound
from vyry.ids import UserId, new_id


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def stores(url: str) -> AsyncIterator[AccountStores]:
    async with open_stores(url) as stores:
        yield stores


def act(name: str, user_id: UserId | None = None, at: datetime = NOON) -> OperatorAct:
    return OperatorAct(at, "olga", name, "a reason", user_id)


async def log() -> list[str]:
    return [each.act async for each in read_acts(None)]


async def test_a_suspended_account_lets_nobody_sign_up_until_it_is_resumed(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    device = stores.last_device

    assert await operating.suspend(user, act("userSuspend", user))
    with pytest.raises(Forbidden):
        await stores.sign_up(refresh="r1")

    # What was refused changed nothing: the device is there when the account goes on.
    assert (await DeviceRow.get(id=device)).ended_at is None
    assert await operating.resume(user, act("userResume", user))
    assert not (await stores.sign_up(refresh="r1")).is_new_user
    assert await log() == ["userSuspend", "userResume"]
    events = (await TortoiseAccountEvents().page(user, 10, None)).events
    assert [each.name for each in events] == ["signedUp", "deviceEnded", "resumed", "suspended", "signedUp"]


async def test_what_changes_nothing_is_not_logged(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    assert not await operating.resume(user, act("userResume", user))
    with pytest.raises(NotFound):
        await operating.suspend(UserId(new_id()), act("userSuspend"))

    assert await log() == []


async def test_all_devices_end_and_the_account_stays(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    ended = await operating.end_all_devices(user, act("userEndDevices", user))

    assert [each.device for each in ended] == [stores.last_device]
    assert (await stores.devices.list(user)).devices == ()
    assert await log() == ["userEndDevices"]


async def test_an_operators_deletion_is_like_the_owners(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id

    await operating.delete(user, None, act("userDelete", user))

    assert (await AccountRow.get(id=user)).deleted_at == NOON
    assert (await stores.sign_up(refresh="r1")).user_id != user
    for named in (user, "a"):
        with pytest.raises(NotFound):
            await operating.find(named, None)


async def test_accounts_are_found_by_id_and_username_and_shown_without_a_number(stores: AccountStores) -> None:
    user = (await stores.sign_up()).user_id
    await AccountRow.filter(id=user).update(username="ann")

    assert [await operating.find(user, None), await operating.find("ANN", None)] == [user, user]
    shown = await operating.show(user, None, act("userShow", user))

    assert (shown.username, shown.phone_number, [each.device_id for each in shown.devices]) == ("ann", None, [1])
    assert [each.user_id async for each in operating.every_account(act("userList"))] == [user]
    assert await log() == ["userShow", "userList"]


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
    async with transaction() as inside:
        await note_act(inside, act("userShow"))

    with pytest.raises((BaseORMException, asyncpg.PostgresError)):
        await connection().execute_query(change)

    assert await log() == ["userShow"]
    assert [each.reason async for each in read_acts(None)] == ["a reason"]


async def test_the_log_is_read_from_a_moment_on(stores: AccountStores) -> None:
    for hours in range(3):
        async with transaction() as inside:
            await note_act(inside, act(f"act{hours}", at=NOON + timedelta(hours=hours)))

    assert [each.act async for each in read_acts((NOON + timedelta(hours=1)).astimezone(UTC))] == ["act1", "act2"]
