"""Invitations and recovery codes claimed on two nodes at once, over one PostgreSQL and one Redis: the database decides, whatever Redis forgets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tests.support.joining import invite
from vyry.accounts.account import Platform
from vyry.accounts.joining import JoinRequest
from vyry.accounts.recovery import RecoveryName
from vyry.accounts.signup import NewSession
from vyry.accounts.signup_invitations import InvitationTerms
from vyry.composition.services import Services, open_services
from vyry.errors import InvalidRecoveryCode, NotFound, RateLimited, UsernameTaken, VyryError
from vyry.kernel.ids import UserId
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.models import AccountRow, DeviceRow


ADDRESS = "192.0.2.7"
Outcome = NewSession | type[VyryError]


@dataclass(slots=True)
class TwoNodes:
    """Two nodes on one database."""

    nodes: list[Services]
    settings: Settings
    redis: Redis

    async def join(
        self, turn: int, token: str, attempt: UUID | None = None, username: str | None = None
    ) -> NewSession | type[VyryError]:
        """Join at one of the nodes in turn."""
        request = JoinRequest(token, attempt, username, None, "phone", Platform.CLI)
        try:
            return (await self.nodes[turn % 2].joining.join(request, ADDRESS))[0]
        except (NotFound, UsernameTaken, RateLimited) as refusal:
            return type(refusal)

    async def recover(self, turn: int, code: str, name: RecoveryName, address: str = ADDRESS) -> Outcome:
        """Recover at one of the nodes in turn."""
        try:
            made = await self.nodes[turn % 2].recovery.recover(name, code, "phone", Platform.CLI, address)
        except (InvalidRecoveryCode, RateLimited) as refusal:
            return type(refusal)
        assert isinstance(made, NewSession)
        return made


@pytest.fixture
async def two_nodes(postgres_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[TwoNodes]:
    names = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": postgres_url, "VYRY_MEMBER_INVITES": "5"}
    settings = load_settings(Role.START, names).model_copy(update={"redis_url": SecretStr(redis_url)})
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(open_services(settings, Role.START)) for _ in range(2)]
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        yield TwoNodes(services, settings, redis)


def sessions(outcomes: list[Outcome]) -> list[NewSession]:
    return [each for each in outcomes if isinstance(each, NewSession)]


@pytest.mark.parametrize("uses", [1, 7])
async def test_of_fifty_joins_at_once_as_many_succeed_as_the_invitation_has_uses(
    two_nodes: TwoNodes, uses: int
) -> None:
    token = await invite(two_nodes.settings, uses)

    outcomes = await asyncio.gather(*(two_nodes.join(turn, token) for turn in range(50)))

    assert (len(sessions(outcomes)), outcomes.count(NotFound)) == (uses, 50 - uses)
    assert await AccountRow.all().count() == uses


async def test_fifty_repetitions_of_one_attempt_at_once_make_one_account(two_nodes: TwoNodes) -> None:
    token, attempt = await invite(two_nodes.settings), uuid4()

    made = sessions(await asyncio.gather(*(two_nodes.join(turn, token, attempt, "ann") for turn in range(50))))

    assert (len(made), len({each.user_id for each in made})) == (50, 1)
    assert await DeviceRow.filter(account_id=made[0].user_id, ended_at=None).count() == 1


async def test_of_fifty_joins_with_one_name_at_once_one_succeeds_and_the_others_use_nothing(
    two_nodes: TwoNodes,
) -> None:
    token = await invite(two_nodes.settings, 50)

    outcomes = await asyncio.gather(*(two_nodes.join(turn, token, username="ann") for turn in range(50)))

    assert (len(sessions(outcomes)), outcomes.count(UsernameTaken)) == (1, 49)
    assert len(sessions(await asyncio.gather(*(two_nodes.join(turn, token) for turn in range(50))))) == 49


async def test_of_fifty_recoveries_with_one_code_at_once_one_succeeds(two_nodes: TwoNodes) -> None:
    ann = sessions([await two_nodes.join(0, await invite(two_nodes.settings))])[0]
    name = RecoveryName(user_id=UserId(ann.user_id))

    # Each from a network of its own: the tries of one would be used up.
    outcomes = await asyncio.gather(
        *(two_nodes.recover(turn, str(ann.recovery_code), name, f"10.0.{turn}.1") for turn in range(50))
    )

    assert (len(sessions(outcomes)), outcomes.count(InvalidRecoveryCode)) == (1, 49)
    assert await DeviceRow.filter(account_id=ann.user_id, ended_at=None).count() == 1


async def test_of_fifty_wrong_codes_at_once_five_are_judged_and_a_flushed_redis_changes_nothing(
    two_nodes: TwoNodes,
) -> None:
    name = RecoveryName(username="nobody")

    first = await asyncio.gather(*(two_nodes.recover(turn, "wrong", name) for turn in range(50)))
    await two_nodes.redis.flushall()
    second = await asyncio.gather(*(two_nodes.recover(turn, "wrong", name) for turn in range(10)))

    assert (first.count(InvalidRecoveryCode), first.count(RateLimited)) == (5, 45)
    assert second == [RateLimited] * 10
    assert await two_nodes.recover(0, "wrong", name, "198.51.100.7") is InvalidRecoveryCode


async def test_a_network_has_a_hundred_wrong_codes_for_all_names(two_nodes: TwoNodes) -> None:
    names = [RecoveryName(username=f"nobody{number}") for number in range(120)]

    outcomes = [await two_nodes.recover(turn, "wrong", name) for turn, name in enumerate(names)]
    await two_nodes.redis.flushall()

    assert (outcomes.count(InvalidRecoveryCode), outcomes.count(RateLimited)) == (100, 20)
    assert await two_nodes.recover(0, "wrong", names[0]) is RateLimited


async def test_a_member_invites_as_many_as_the_node_allows_on_two_nodes_and_a_flushed_redis_changes_nothing(
    two_nodes: TwoNodes,
) -> None:
    ann = sessions([await two_nodes.join(0, await invite(two_nodes.settings))])[0]

    async def make(turn: int) -> bool:
        try:
            await two_nodes.nodes[turn % 2].signup_invitations.create(ann.user_id, InvitationTerms())
        except RateLimited:
            return False
        return True

    first = await asyncio.gather(*(make(turn) for turn in range(50)))
    await two_nodes.redis.flushall()

    assert (first.count(True), await make(0)) == (5, False)
