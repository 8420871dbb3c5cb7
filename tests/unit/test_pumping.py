"""A day of SMS pumping replayed: a botnet of many networks asks for codes to numbers of its own, while people go on signing up."""

import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.account_room import NOON, Post, StandingClock
from vyry.accounts.otp import Channel, OneTimeCodes, Purpose, Terms
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.accounts.sending import DAY, Rules, Tariff
from vyry.adapters.memory_otp import MemoryOtp
from vyry.errors import RateLimited, Unavailable


PRICE, CAP = 100_000, 60_000_000
HOURS = 6


@dataclass(slots=True)
class Trace:
    """What happened: codes that were paid for, and how people fared."""

    clock: StandingClock = field(default_factory=StandingClock)
    post: Post = field(default_factory=Post)
    people: int = 0
    served: int = 0
    attacks: int = 0
    pumped: int = 0
    rules: Rules = field(default_factory=lambda: Rules(daily_cap=CAP))
    codes: OneTimeCodes = field(init=False)
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        pepper, terms = Pepper(b"p" * 32), Terms(self.rules, Tariff(price=PRICE))
        self.codes = OneTimeCodes(MemoryOtp(), self.post, pepper, self.clock, terms)
        self.dice = random.Random(4)

    async def attack(self, number: str) -> None:
        """One bot asks, from one of ten thousand networks; nobody will verify."""
        self.attacks += 1
        network = f"10.{self.dice.randrange(40)}.{self.dice.randrange(250)}.0/24"
        try:
            await self.codes.send(PhoneNumber(number), Purpose.LOGIN, Channel.VOICE, network)
        except (RateLimited, Unavailable):
            return
        self.pumped += 1

    async def sign_up(self) -> None:
        """One person asks from home and verifies."""
        self.people += 1
        number, home = (
            f"+4179{self.dice.randrange(10**7):07d}",
            f"198.{self.dice.randrange(200)}.{self.people % 250}.0/24",
        )
        try:
            sent = await self.codes.send(PhoneNumber(number), Purpose.LOGIN, Channel.SMS, home)
            await self.codes.redeem(sent.challenge_id, Purpose.LOGIN, self.post.sent[-1].otp)
        except (RateLimited, Unavailable):
            return
        self.served += 1

    async def live(self, prefix: str) -> None:
        """Six hours: a person each three minutes, and twenty bots."""
        for minute in range(0, HOURS * 60, 3):
            self.clock.moment = NOON + timedelta(minutes=minute)
            digits = 14 - len(prefix)
            for _ in range(20):
                await self.attack(f"+{prefix}{self.dice.randrange(10**digits):0{digits}d}"[:13])
            await self.sign_up()

    @property
    def spent(self) -> int:
        return len(self.post.sent) * PRICE


@pytest.mark.parametrize(("prefix", "most"), [("2609712", 20 * HOURS), ("260971", 90 * HOURS)])
async def test_a_botnet_gets_little_and_people_get_their_codes(prefix: str, most: int) -> None:
    trace = Trace()

    await trace.live(prefix)

    assert trace.attacks == 20 * trace.people
    assert trace.pumped <= most
    assert trace.spent <= CAP
    assert trace.served >= 0.99 * trace.people


async def test_numbers_of_all_the_world_cost_no_more_than_the_cap() -> None:
    trace = Trace()
    for hour in range(30):
        trace.clock.moment = NOON + timedelta(hours=hour)
        for _ in range(100):
            country = trace.dice.choice((27, 33, 44, 49, 55, 62, 81, 91))
            await trace.attack(f"+{country}{trace.dice.randrange(10**10):010d}")

    within_a_day = [message for message in trace.post.sent if message.at > trace.clock.moment - DAY]
    assert trace.attacks == 3000
    assert len(within_a_day) * PRICE <= CAP


async def test_without_prefix_and_breaker_the_botnet_would_drain_the_cap() -> None:
    trace = Trace(rules=Rules(prefix=None, has_breaker=False, daily_cap=CAP))

    with capture_logs() as logs:
        await trace.live("2609712")

    assert [line["event"] for line in logs] == ["sending paused"]
    assert trace.spent == CAP
    assert trace.served < 0.99 * trace.people
