"""Usernames that were given up, over REST and on two nodes at once: docs/protocol.md, "Usernames"."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.account_harness import AccountStores, open_stores
from tests.support.fake_clock import NOON
from tests.support.node_server import NodeServer
from tests.support.rest_device import Device, RequestRefused
from tests.support.username_race import OtherNode, claim_by_all
from vyry.accounts.account import AccountChange
from vyry.accounts.events import OperatorAction
from vyry.accounts.usernames import RESERVATION, UsernameRules
from vyry.kernel.ids import UserId
from vyry.operator import accounts as operating
from vyry.storage.account_deletion import TortoiseDeletion
from vyry.storage.account_upkeep import TortoiseAccountUpkeep
from vyry.storage.conversation_models import ReservedUsernameRow
from vyry.storage.models import AccountRow


TAKERS = 50
FREE = NOON + RESERVATION + timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def stores(url: str) -> AsyncIterator[AccountStores]:
    async with open_stores(url) as stores:
        yield stores


async def people(stores: AccountStores, count: int) -> list[UserId]:
    return [(await stores.sign_up(f"{number:064}", refresh=f"r{number}")).user_id for number in range(count)]


async def holders(name: str) -> list[UserId]:
    return [UserId(row.id) for row in await AccountRow.filter(username=name)]


@pytest.mark.parametrize("at", [NOON, FREE])
async def test_of_fifty_on_two_nodes_one_gets_a_name_that_is_free_or_has_rested(
    url: str, stores: AccountStores, at: datetime
) -> None:
    former, *users = await people(stores, TAKERS + 1)
    if at == FREE:
        await claim_by_all(stores, [former], "ann", NOON)
        await stores.accounts.change(former, AccountChange({"username": None}), UsernameRules(NOON))

    other = await OtherNode.start(url, users[::2], "ann", at)

    there, here = await asyncio.gather(other.claim(), claim_by_all(stores, users[1::2], "ann", at))

    assert len(there + here) == 1
    assert await holders("ann") == there + here
    assert await ReservedUsernameRow.all().count() == 0


@pytest.mark.parametrize("end", ["cleared", "replaced", "deleted"])
async def test_nobody_slips_in_while_a_name_is_given_up(url: str, stores: AccountStores, end: str) -> None:
    owner, *users = await people(stores, 21)
    await claim_by_all(stores, [owner], "ann", NOON)
    other = await OtherNode.start(url, users * 2, "ann", NOON)
    takers = asyncio.gather(other.claim(), claim_by_all(stores, users, "ann", NOON))

    if end == "deleted":
        await stores.deletion.delete(owner, ["0" * 64], NOON)
    else:
        successor = None if end == "cleared" else "anna"
        await stores.accounts.change(owner, AccountChange({"username": successor}), UsernameRules(NOON))

    there, here = await takers
    assert there + here == []
    assert await holders("ann") == []
    assert (await ReservedUsernameRow.get()).account_id == (None if end == "deleted" else owner)


async def test_names_that_have_rested_are_forgotten_by_the_sweeper(stores: AccountStores) -> None:
    (user,) = await people(stores, 1)
    await claim_by_all(stores, [user], "ann", NOON)
    await stores.accounts.change(user, AccountChange({"username": None}), UsernameRules(NOON))
    upkeep = TortoiseAccountUpkeep()

    early = await upkeep.delete_expired(FREE.replace(hour=0) - timedelta(microseconds=1), 100)
    kept = await ReservedUsernameRow.all().count()
    await upkeep.delete_expired(FREE.replace(hour=0), 100)

    assert (early, kept, await ReservedUsernameRow.all().count()) == (1, 1, 0)


async def test_an_operators_deletion_lets_the_name_rest_without_the_pepper(stores: AccountStores) -> None:
    user, other = await people(stores, 2)
    await claim_by_all(stores, [user], "ann", NOON)

    await operating.delete_account_as_operator(user, None, OperatorAction(NOON, "olga", "userDelete", "a reason", user))

    assert await claim_by_all(stores, [other], "ann", NOON) == []
    assert [(row.account_id, "ann" in row.hash) for row in await ReservedUsernameRow.all()] == [(None, False)]


async def refusal(device: Device, method: str, path: str, username: str | None = None) -> dict[str, object]:
    """The whole refusal but for the id of the request."""
    with pytest.raises(RequestRefused) as refused:
        await device.call(method, path, None if username is None else {"username": username})
    return {name: value for name, value in refused.value.body.items() if name != "request_id"}


async def test_a_resting_name_is_taken_to_takers_and_unknown_to_searchers(node_server: NodeServer) -> None:
    ann, bo, cleo = [await node_server.node.sign_up(with_keys=False) for _ in range(3)]
    await ann.call("PATCH", "/account", {"username": "Gone.Ann"})
    await cleo.call("PATCH", "/account", {"username": "cleo"})
    await ann.call("PATCH", "/account", {"username": None})

    assert await refusal(bo, "PATCH", "/account", "gone.ANN") == await refusal(bo, "PATCH", "/account", "cleo")
    resting, unknown = [await refusal(bo, "GET", f"/users/by-username/{name}") for name in ("gone.ann", "never.was")]
    assert resting == unknown
    assert (await ann.call("PATCH", "/account", {"username": "gone.ann"}))["username"] == "gone.ann"
    assert (await bo.call("GET", "/users/by-username/gone.ann"))["userId"] == ann.user_id


async def test_the_name_of_a_deleted_account_rests_for_who_signs_up_with_its_number(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)
    await ann.call("PATCH", "/account", {"username": "gone.ann"})
    account = await AccountRow.get(id=ann.user_id)
    await TortoiseDeletion().delete(UserId(account.id), [account.phone_hash], datetime.now(UTC))

    again = await node_server.node.sign_up(ann.number, with_keys=False)

    assert (await refusal(again, "PATCH", "/account", "gone.ann"))["error_code"] == "USERNAME_TAKEN"
    assert (await refusal(again, "GET", "/users/by-username/gone.ann"))["error_code"] == "NOT_FOUND"


async def test_the_fourth_name_is_kept_and_limits_say_so(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)
    left = []
    for name in ("one1", "two2", "three3", "four4"):
        await ann.call("PATCH", "/account", {"username": name})
        limits = (await ann.call("GET", "/limits"))["limits"]
        left += [(each["limit"], each["remaining"]) for each in limits if each["name"] == "usernames"]

    refused = await refusal(ann, "PATCH", "/account", "five5")

    assert left == [(3, 3), (3, 2), (3, 1), (3, 0)]
    assert refused["error_code"] == "RATE_LIMITED"
    assert 90 <= int(str(refused["retry_after_seconds"])) / 86_400 <= 91
    assert (await ann.call("GET", "/account"))["username"] == "four4"
    assert len((await ann.call("GET", "/account/export"))["restingNames"]) == 3
