"""Any history of codes on two nodes, held against a model that knows nothing of statements: it remembers what was sent and counts by looking at all of it.

Node 0 lives on and remembers refusals; node 1 is a new process each time, as after a crash or a FLUSHALL: both must decide alike.
"""

import asyncio
import math
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.account_harness import open_stores
from tests.support.fake_clock import FakeClock
from tests.support.step_runner import StepRunner
from vyry.accounts import otp_limits as sending
from vyry.accounts.otp import Channel, OneTimeCodes, OtpMessage, OtpOptions, OtpStore, Purpose, SendFailed, SentCode
from vyry.accounts.otp_limits import OtpLimits, Tariff
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.errors import InvalidOtp, RateLimited, Unavailable
from vyry.limits import QuotaWindow


#: Two of one prefix, one more of their area, and one from elsewhere; a code to the last costs three times as much.
NUMBERS = ("+41791234561", "+41791234562", "+41791299999", "+4915112345678")
NETWORKS = ("192.0.2.0/24", "2001:db8::/64")
NUMBER_WINDOWS = ((1, 30), (3, 600), (6, 86_400))
TOTAL_WINDOWS = ((4, 600), (8, 86_400))
NETWORK_WINDOWS = ((5, 600), (12, 86_400))
PREFIX, CAP, BREAKER = (4, 3600), 150, 3
TERMS = OtpOptions(
    OtpLimits(
        number=tuple(QuotaWindow(*window) for window in NUMBER_WINDOWS[1:]),
        total=tuple(QuotaWindow(*window) for window in TOTAL_WINDOWS),
        network=tuple(QuotaWindow(*window) for window in NETWORK_WINDOWS),
        prefix=QuotaWindow(*PREFIX),
        daily_cap=CAP,
    ),
    Tariff(price=10, prices={"DE": 30}),
)


@dataclass(slots=True)
class IssuedCode:
    """A code that the model saw on its way."""

    number: str
    network: str
    purpose: Purpose
    sent_at: datetime
    challenge: UUID | None
    otp: str
    guesses_left: int = 5
    is_verified: bool = False
    is_counted: bool = True

    @property
    def cost(self) -> int:
        return 30 if self.number.startswith("+49") else 10


class FailingOtpSender:
    """A sender that fails when told to."""

    def __init__(self) -> None:
        self.messages: list[OtpMessage] = []
        self.error: SendFailed | None = None

    async def send(self, message: OtpMessage) -> None:
        if self.error:
            raise self.error
        self.messages.append(message)


class OtpMachine(RuleBasedStateMachine):
    """Codes over memory; with a URL over that database (a fresh one for each life)."""

    url: ClassVar[str | None] = None

    @initialize()
    def set_up(self) -> None:
        sending.BREAKER_CODES = BREAKER  # type: ignore[misc]  # lives are too short for fifty
        self.loop, self.stack = StepRunner(), AsyncExitStack()
        self.clock, self.sender, self.pepper = FakeClock(), FailingOtpSender(), Pepper(b"p" * 32)
        self.store: OtpStore = self.loop.run(self.stack.enter_async_context(open_stores(self.fresh_url()))).otp
        self.node = self.restart_node()
        self.sent: list[IssuedCode] = []
        self.paused: dict[str, datetime] = {}
        self.proven: set[tuple[str, str]] = set()

    def fresh_url(self) -> str | None:
        """Where this life is lived."""
        return self.url

    def restart_node(self) -> OneTimeCodes:
        """A process that has just started."""
        return OneTimeCodes(self.store, self.sender, self.pepper, self.clock, TERMS)

    def teardown(self) -> None:
        self.loop.run(self.stack.aclose())
        self.loop.close()

    @rule(seconds=st.sampled_from([0.5, 29, 30, 31, 150, 180, 570, 600, 1800, 3600, 43_200, 86_400]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)

    @rule(
        number=st.sampled_from(NUMBERS),
        network=st.sampled_from(NETWORKS),
        purpose=st.sampled_from(Purpose),
        times=st.sampled_from([1, 1, 1, 4]),
        is_old=st.booleans(),
    )
    def request_codes(self, number: str, network: str, purpose: Purpose, times: int, *, is_old: bool) -> None:
        node, expected = self.node if is_old else self.restart_node(), self.expected_wait(number, network)
        asked = [node.send(PhoneNumber(number), purpose, Channel.SMS, network) for _ in range(times)]
        answers = self.loop.run(self.gather(*asked))

        admitted = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(admitted) == (1 if expected == 0 else 0)
        if admitted:
            assert isinstance(admitted[0], SentCode)
            challenge, otp = admitted[0].challenge_id, self.sender.messages[-1].otp
            self.record_code(IssuedCode(number, network, purpose, self.clock.now(), challenge, otp))
        elif times == 1:
            wait = self.wait_of(answers[0])
            assert wait == expected or (is_old and 0 < wait < expected)

    @rule(number=st.sampled_from(NUMBERS), network=st.sampled_from(NETWORKS), is_certain=st.booleans())
    def request_failing_codes(self, number: str, network: str, *, is_certain: bool) -> None:
        expected, self.sender.error = self.expected_wait(number, network), SendFailed(is_certain=is_certain)
        asked = self.restart_node().send(PhoneNumber(number), Purpose.LOGIN, Channel.SMS, network)
        (answer,) = self.loop.run(self.gather(asked))
        self.sender.error = None

        assert self.wait_of(answer) == (expected or 30)
        if not expected:
            sent = IssuedCode(number, network, Purpose.LOGIN, self.clock.now(), None, "", is_counted=not is_certain)
            self.record_code(sent)

    @precondition(lambda self: self.sent)
    @rule(
        data=st.data(),
        is_right=st.booleans(),
        times=st.sampled_from([1, 1, 3, 8]),
        purpose=st.sampled_from([None, None, None, *Purpose]),
        whose=st.sampled_from([None, None, *NUMBERS]),
    )
    def enter_code(
        self, data: st.DataObject, times: int, purpose: Purpose | None, whose: str | None, *, is_right: bool
    ) -> None:
        sent = data.draw(st.sampled_from(self.sent))
        is_known = purpose in (None, sent.purpose) and whose in (None, sent.number) and self.is_valid(sent)
        code = sent.otp if is_right else f"{(int(sent.otp or 0) + 1) % 10**6:06d}"
        of = None if whose is None else self.pepper.hide(PhoneNumber(whose)).sealed
        challenge = sent.challenge or UUID(int=0)

        guesses = [self.restart_node().redeem(challenge, purpose or sent.purpose, code, of) for _ in range(times)]
        answers = self.loop.run(self.gather(*guesses))

        right = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(right) == (1 if is_known and is_right else 0)
        left = sorted(answer.members["attempts_remaining"] for answer in answers if isinstance(answer, InvalidOtp))  # type: ignore[type-var]  # numbers
        if is_known and not is_right:
            judged = min(times, sent.guesses_left)
            assert left == sorted([0] * (times - judged) + [sent.guesses_left - each - 1 for each in range(judged)])
            sent.guesses_left -= judged
        else:
            assert set(left) <= {0}
            sent.is_verified |= bool(right)
            if right:
                self.proven.add((sent.number, sent.network))

    def record_code(self, sent: IssuedCode) -> None:
        """Remember it."""
        self.sent.append(sent)

    def is_valid(self, sent: IssuedCode) -> bool:
        is_fresh = self.clock.now() < sent.sent_at + timedelta(seconds=180)
        return sent.challenge is not None and is_fresh and sent.guesses_left > 0 and not sent.is_verified

    def expected_wait(self, number: str, network: str) -> int:
        """After how many seconds this number is sent a code; 0 is now. A pause that begins with this request begins."""
        now, area, counted = self.clock.now(), number[1:7], [each for each in self.sent if each.is_counted]
        own = [each.sent_at for each in self.sent if (each.number, each.network) == (number, network)]
        waits = [window_wait(window, own, now) for window in NUMBER_WINDOWS]
        waits += [
            window_wait(window, [each.sent_at for each in self.sent if each.network == network], now)
            for window in NETWORK_WINDOWS
        ]
        is_proven = (number, network) in self.proven
        if not is_proven:
            total = [each.sent_at for each in self.sent if each.number == number]
            waits += [window_wait(window, total, now) for window in TOTAL_WINDOWS]
            unverified = [each.sent_at for each in counted if each.number[1:8] == number[1:8] and not each.is_verified]
            waits += [window_wait(PREFIX, unverified, now), (self.paused.get(area, now) - now).total_seconds()]
        cost = 30 if number.startswith("+49") else 10
        moments = [
            now,
            *(each.sent_at + timedelta(days=1) for each in counted if each.sent_at > now - timedelta(days=1)),
        ]
        waits += [min((at - now).total_seconds() for at in moments if daily_cost(counted, at) + cost <= CAP)]
        if not is_proven and self.exceeds_breaker(area) and max(waits) < 3600 and self.paused.get(area, now) <= now:
            self.paused[area] = now + timedelta(hours=1)
            waits += [3600.0]
        return math.ceil(max(0.0, *waits))

    def exceeds_breaker(self, area: str) -> bool:
        now = self.clock.now()
        hour = [
            each
            for each in self.sent
            if each.is_counted and each.number[1:7] == area and each.sent_at > now - timedelta(hours=1)
        ]
        known = [each for each in hour if each.is_verified or each.sent_at <= now - timedelta(seconds=180)]
        return len(known) >= BREAKER and sum(each.is_verified for each in known) * 5 < len(known)

    @staticmethod
    def wait_of(answer: object) -> int:
        assert isinstance(answer, RateLimited | Unavailable)
        return int(str(answer.members["retry_after_seconds"]))

    @staticmethod
    async def gather(*work: object) -> list[object]:
        return await asyncio.gather(*work, return_exceptions=True)  # type: ignore[call-overload, no-any-return]  # of either kind


def window_wait(window: tuple[int, int], moments: list[datetime], now: datetime) -> float:
    """After how many seconds a window has room: the first moment at which it holds fewer than its limit."""
    limit, seconds = window
    ends = [now, *(at + timedelta(seconds=seconds) for at in moments if at + timedelta(seconds=seconds) > now)]
    return min(
        (end - now).total_seconds()
        for end in ends
        if sum(at > end - timedelta(seconds=seconds) for at in moments) < limit
    )


def daily_cost(sent: list[IssuedCode], at: datetime) -> int:
    """What the 24 hours before cost."""
    return sum(each.cost for each in sent if at - timedelta(days=1) < each.sent_at)
