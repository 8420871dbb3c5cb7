"""One-time codes asked for and guessed on two nodes at once, over one PostgreSQL and one Redis: what the database decides holds for both, whatever Redis forgets."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tests.support.rest_device import unused_number
from vyry.accounts.account import Platform
from vyry.accounts.otp import Channel, Purpose
from vyry.accounts.signup import Registration, RequestOrigin
from vyry.composition.services import open_services
from vyry.errors import InvalidOtp, RateLimited, Unavailable
from vyry.kernel.ids import new_id
from vyry.settings.settings import Role, load_settings
from vyry.storage.database import is_postgres


LIMITED = "192.0.2.7"


@dataclass(slots=True)
class TwoNodes:
    """The doors of two nodes, and the file that their codes are written to."""

    nodes: list[Registration]
    codes: Path
    redis: Redis
    refusals: list[int] = field(default_factory=list)

    async def ask(self, turn: int, address: str = LIMITED, number: str = "") -> UUID | None:
        """Ask one of the nodes in turn; None if it refuses."""
        door = self.nodes[turn % 2]
        try:
            sent = await door.request_otp(number or unused_number(), Purpose.LOGIN, Channel.SMS, RequestOrigin(address))
        except (RateLimited, Unavailable) as refusal:
            self.refusals.append(int(str(refusal.members["retry_after_seconds"])))
            return None
        return sent.challenge_id

    async def guess(self, turn: int, challenge: UUID, otp: str) -> bool:
        """Guess at one of the nodes in turn."""
        try:
            await self.nodes[turn % 2].verify_otp(challenge, otp, "phone", Platform.CLI)
        except InvalidOtp:
            return False
        return True

    def otp(self) -> str:
        """The code sent last."""
        return str(json.loads(self.codes.read_text().splitlines()[-1])["otp"])


@pytest.fixture
def more() -> dict[str, str]:
    """Further settings of both nodes."""
    return {}


@pytest.fixture
async def two_nodes(postgres_url: str, redis_url: str, tmp_path: Path, more: dict[str, str]) -> AsyncIterator[TwoNodes]:
    codes = tmp_path / "codes"
    names = {"VYRY_DATA_DIR": str(tmp_path), "VYRY_SMS": f"file:{codes}", "DATABASE_URL": postgres_url, **more}
    settings = load_settings(Role.START, names).model_copy(update={"redis_url": SecretStr(redis_url)})
    assert is_postgres(postgres_url)
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(open_services(settings, Role.START)) for _ in range(2)]
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        yield TwoNodes([each.sign_up.registration for each in services], codes, redis)


async def test_fifty_right_guesses_on_two_nodes_succeed_once(two_nodes: TwoNodes) -> None:
    challenge = await two_nodes.ask(0)
    assert challenge is not None

    outcomes = await asyncio.gather(*(two_nodes.guess(turn, challenge, two_nodes.otp()) for turn in range(50)))

    assert outcomes.count(True) == 1


async def test_of_sixty_wrong_guesses_on_two_nodes_five_are_judged(two_nodes: TwoNodes) -> None:
    challenge = await two_nodes.ask(0)
    assert challenge is not None
    right = two_nodes.otp()
    wrong = f"{(int(right) + 1) % 10**6:06d}"

    await asyncio.gather(*(two_nodes.guess(turn, challenge, wrong) for turn in range(4)))
    await asyncio.gather(*(two_nodes.guess(turn, challenge, wrong) for turn in range(56)))

    assert not await two_nodes.guess(1, challenge, right)


async def test_one_network_gets_exactly_ten_codes_from_two_nodes_and_a_flushed_redis_changes_nothing(
    two_nodes: TwoNodes,
) -> None:
    first = await asyncio.gather(*(two_nodes.ask(turn) for turn in range(40)))
    await two_nodes.redis.flushall()

    second = await asyncio.gather(*(two_nodes.ask(turn) for turn in range(20)))

    assert (sum(each is not None for each in first), sum(each is not None for each in second)) == (10, 0)
    assert all(590 < wait <= 600 for wait in two_nodes.refusals)
    assert await two_nodes.ask(0, "198.51.100.7") is not None


async def test_one_network_gets_exactly_one_code_for_a_number_from_two_nodes(two_nodes: TwoNodes) -> None:
    number = unused_number()

    answers = await asyncio.gather(*(two_nodes.ask(turn, f"203.0.113.{turn}", number) for turn in range(30)))
    await two_nodes.redis.flushall()

    assert sum(each is not None for each in answers) == 1
    assert await two_nodes.ask(0, "203.0.113.7", number) is None
    assert all(20 < wait <= 30 for wait in two_nodes.refusals)


async def test_whoever_knows_a_number_does_not_keep_its_owner_out_and_a_flushed_redis_changes_nothing(
    two_nodes: TwoNodes,
) -> None:
    number, home = unused_number(), "198.51.100.7"
    signed_up = await two_nodes.ask(0, home, number)
    assert signed_up is not None
    assert await two_nodes.guess(0, signed_up, two_nodes.otp())

    # From fifty networks at once, half of them again after a FLUSHALL; the owner asks from another network, and from home.
    strangers = [await two_nodes.ask(turn, f"10.0.{turn}.1", number) for turn in range(2)]
    elsewhere = await two_nodes.ask(0, "203.0.113.9", number)
    code = two_nodes.otp()
    asked = await asyncio.gather(*(two_nodes.ask(turn, f"10.0.{turn}.1", number) for turn in range(2, 50)))
    await two_nodes.redis.flushall()
    asked += await asyncio.gather(*(two_nodes.ask(turn, f"10.1.{turn}.1", number) for turn in range(25)))

    wrong = f"{(int(code) + 1) % 10**6:06d}"
    for challenge in (each for each in [*strangers, *asked] if each is not None):
        await asyncio.gather(*(two_nodes.guess(turn, challenge, wrong) for turn in range(6)))

    # One was sent for the sign-up, and one to the owner elsewhere.
    assert sum(each is not None for each in [*strangers, *asked]) == 10
    assert elsewhere is not None
    assert await two_nodes.guess(1, elsewhere, code)


async def test_nodes_that_started_anew_remember_what_was_sent(two_nodes: TwoNodes, postgres_url: str) -> None:
    for turn in range(10):
        assert await two_nodes.ask(turn)
    settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(two_nodes.codes.parent), "DATABASE_URL": postgres_url})

    async with open_services(settings, Role.START) as services:
        two_nodes.nodes = [services.sign_up.registration] * 2

        assert await two_nodes.ask(0) is None


@pytest.mark.parametrize("more", [{"VYRY_SMS_PRICE": "0.1", "VYRY_SMS_DAILY_CAP": "0.75", "VYRY_LIMITS": "off"}])
async def test_two_nodes_spend_no_more_than_the_cap(two_nodes: TwoNodes) -> None:
    numbers = [f"+4915{turn:02d}{secrets.randbelow(10**7):07d}" for turn in range(40)]
    asked = (two_nodes.ask(turn, f"198.51.{turn}.7", number) for turn, number in enumerate(numbers))

    answers = await asyncio.gather(*asked)

    assert sum(each is not None for each in answers) == 7
    assert all(86_390 < wait <= 86_400 for wait in two_nodes.refusals)


async def test_a_challenge_that_was_never_made_is_answered_like_one_that_is_over(two_nodes: TwoNodes) -> None:
    assert not await two_nodes.guess(0, new_id(), "000000")
