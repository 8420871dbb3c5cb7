"""A day of SMS pumping: a botnet in many networks requests codes to its own numbers, while real people sign up."""

import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.fakes.otp import MemoryOtp
from tests.support.account_harness import RecordingOtpSender
from tests.support.fake_clock import NOON, FakeClock
from vyry.accounts.otp import Channel, OneTimeCodes, OtpOptions, Purpose
from vyry.accounts.otp_limits import DAY, OtpLimits, Tariff
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.errors import RateLimited, Unavailable


PRICE, CAP = 100_000, 60_000_000
HOURS = 6


@dataclass(slots=True)
class AttackReplay:
    """The replay: codes paid for, and the outcome for real sign-ups."""

    clock: FakeClock = field(default_factory=FakeClock)
    post: RecordingOtpSender = field(default_factory=RecordingOtpSender)
    people: int = 0
    served: int = 0
    attacks: int = 0
    pumped: int = 0
    rules: OtpLimits = field(default_factory=lambda: OtpLimits(daily_cap=CAP))
    codes: OneTimeCodes = field(init=False)
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        pepper, terms = Pepper(b"p" * 32), OtpOptions(self.rules, Tariff(price=PRICE))
        self.codes = OneTimeCodes(MemoryOtp(), self.post, pepper, self.clock, terms)
        self.dice = random.Random(4)

    async def attack(self, number: str) -> None:
        """One bot requests a code, from one of ten thousand networks; it is never verified."""
        self.attacks += 1
        network = f"10.{self.dice.randrange(40)}.{self.dice.randrange(250)}.0/24"
        try:
            await self.codes.send(PhoneNumber(number), Purpose.LOGIN, Channel.VOICE, network)
        except (RateLimited, Unavailable):
            return
        self.pumped += 1

    async def sign_up(self) -> None:
        """One person requests a code from home and verifies it."""
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
        """Six hours: one person every three minutes, and twenty bots."""
        for minute in range(0, HOURS * 60, 3):
            self.clock.current_time = NOON + timedelta(minutes=minute)
            digits = 14 - len(prefix)
            for _ in range(20):
                await self.attack(f"+{prefix}{self.dice.randrange(10**digits):0{digits}d}"[:13])
            await self.sign_up()

    @property
    def spent(self) -> int:
        return len(self.post.sent) * PRICE


@pytest.mark.parametrize(("prefix", "most"), [("2609712", 20 * HOURS), ("260971", 90 * HOURS)])
async def test_a_botnet_gets_little_and_people_get_their_codes(prefix: str, most: int) -> None:
    trace = AttackReplay()

    await trace.live(prefix)

    assert trace.attacks == 20 * trace.people
    assert trace.pumped <= most
    assert trace.spent <= CAP
    assert trace.served >= 0.99 * trace.people


async def test_numbers_of_all_the_world_cost_no_more_than_the_cap() -> None:
    trace = AttackReplay()
    for hour in range(30):
        trace.clock.current_time = NOON + timedelta(hours=hour)
        for _ in range(100):
            country = trace.dice.choice((27, 33, 44, 49, 55, 62, 81, 91))
            await trace.attack(f"+{country}{trace.dice.randrange(10**10):010d}")

    within_a_day = [message for message in trace.post.sent if message.at > trace.clock.current_time - DAY]
    assert trace.attacks == 3000
    assert len(within_a_day) * PRICE <= CAP


async def test_without_prefix_and_breaker_the_botnet_would_drain_the_cap() -> None:
    trace = AttackReplay(rules=OtpLimits(prefix=None, has_breaker=False, daily_cap=CAP))

    with capture_logs() as logs:
        await trace.live("2609712")

    assert [line["event"] for line in logs] == ["otp_sending_paused"]
    assert trace.spent == CAP
    assert trace.served < 0.99 * trace.people
