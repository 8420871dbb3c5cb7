"""One-time codes: sent to a phone number, valid once, for one purpose, for three minutes and five guesses.

Nothing here looks the account of a number up, so known and unknown numbers cannot be distinguished. The database stores a keyed hash of the code; one
statement counts and judges a guess, so parallel guesses never get a sixth guess or a second success. otp_limits.py decides whether a code may be sent.
A challenge stays valid until it expires, whatever else is requested or guessed: anyone may request a code for any number, and must not end the code of
its owner. So a number gets five guesses for each code that may be sent to it. The id of a challenge is the secret of the device that requested it and
is in no message: reading the message is not enough to use the code.
"""

import math
import secrets
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.otp_limits import (
    CODE_LIFETIME,
    RESEND_AFTER,
    OtpAdmission,
    OtpCounterKeys,
    OtpHistory,
    OtpLimitKind,
    OtpLimits,
    OtpRefusal,
    Tariff,
    prefix_and_area,
    remaining_grants,
)
from vyry.accounts.phone import HiddenNumber, Pepper, PhoneNumber, hash_number
from vyry.clock import Clock
from vyry.errors import InvalidOtp, LimitPolicy, RateLimited, Unavailable
from vyry.kernel.ids import new_id
from vyry.kernel.lru_cache import LruCache
from vyry.limits import OTP_NETWORK, OTP_NUMBER, OTP_TOTAL, Grant
from vyry.telemetry import OTP_GUESSES, OTP_REFUSED, OTP_SENT, log


GUESSES: Final = 5
#: The hashes of a code under the current pepper and the one before.
CodeHashes = tuple[bytes, bytes]
#: The hashes of one number under every pepper; None: any number.
PhoneHashes = Collection[str] | None
#: How many refusals a process caches, to repeat them without the database.
_MAX_CACHED_REFUSALS: Final = 10_000
#: The guesses of this window count, at most MAX_GUESSES of them; below MIN_GUESSES nothing is logged.
MONITOR_WINDOW: Final = timedelta(minutes=10)
MAX_GUESSES: Final = 1000
MIN_GUESSES: Final = 30


class Purpose(Enum):
    """The purpose of a code; it is valid for no other."""

    LOGIN = "login"
    PIN_RESET = "pinReset"
    DELETE_ACCOUNT = "deleteAccount"


class Channel(Enum):
    """How a code is sent."""

    SMS = "sms"
    VOICE = "voice"


@dataclass(frozen=True, slots=True)
class OtpMessage:
    """A code to send. By `message_id` a gateway drops a message that it has sent already; it is not the id of the challenge."""

    message_id: UUID
    number: PhoneNumber
    otp: str = field(repr=False)
    purpose: Purpose
    channel: Channel
    at: datetime


class SendFailed(Exception):
    """A sender failed. `is_certain`: no message was sent; otherwise the outcome is unknown, and the message counts as sent and paid for."""

    def __init__(self, *, is_certain: bool) -> None:
        super().__init__(is_certain)
        self.is_certain = is_certain


class OtpSender(Protocol):
    """Sends codes."""

    async def send(self, message: OtpMessage) -> None:
        """Send the code, or raise SendFailed, within 10 s."""
        ...


@dataclass(frozen=True, slots=True)
class Challenge:
    """A sent code as it is stored."""

    challenge_id: UUID
    phone_hash: str
    phone_sealed: bytes = field(repr=False)
    purpose: Purpose
    code_hash: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime
    guesses: int = GUESSES


@dataclass(frozen=True, slots=True)
class Guess:
    """A counted guess, and the number that the code was sent to."""

    is_right: bool
    guesses_left: int
    phone_hash: str
    phone_sealed: bytes = field(repr=False)


class OtpStore(Protocol):
    """Stores challenges and the history of sent codes. Every method raises `Unavailable` while the database is down."""

    async def open_challenge(
        self, challenge: Challenge, subjects: OtpCounterKeys, rules: OtpLimits
    ) -> OtpAdmission | OtpRefusal:
        """Store and count the challenge if `decide` admits it, given the history; else change nothing.

        Concurrent calls on all nodes are serialised if they share a number, a network, a prefix or the budget.
        """
        ...

    async def judge_guess(
        self,
        challenge_id: UUID,
        purpose: Purpose,
        code_hashes: CodeHashes,
        now: datetime,
        phone_hashes: PhoneHashes = None,
    ) -> Guess | None:
        """Count and judge a guess, atomically. A right one consumes the challenge and marks its number as verified from the network of the request.

        None: the challenge is unknown, expired, consumed or out of guesses, or its number is not among `phone_hashes`.
        """
        ...

    async def withdraw_challenge(self, challenge: Challenge, *, is_certain: bool) -> None:
        """Delete a challenge whose code was not sent. If that is certain, it does not count for its cost and its prefix."""
        ...

    async def load_history(self, subjects: OtpCounterKeys, rules: OtpLimits, now: datetime) -> OtpHistory:
        """The history of the codes with these keys."""
        ...


@dataclass(frozen=True, slots=True)
class SentCode:
    """A code was sent. `grants` are the remaining quotas, by name."""

    challenge_id: UUID
    grants: Sequence[tuple[str, Grant]]


@dataclass(frozen=True, slots=True)
class OtpOptions:
    """How this node sends codes."""

    limits: OtpLimits = field(default_factory=OtpLimits)
    tariff: Tariff = field(default_factory=Tariff)
    guesses: int = GUESSES


class OneTimeCodes:
    """Sends codes and judges guesses."""

    def __init__(
        self, store: OtpStore, sender: OtpSender, pepper: Pepper, clock: Clock, options: OtpOptions | None = None
    ) -> None:
        self._store = store
        self._sender = sender
        self._pepper = pepper
        self._clock = clock
        self._options = options or OtpOptions()
        self._refused = _RefusalCache()
        self._monitor = GuessMonitor(clock)

    async def send(self, number: PhoneNumber, purpose: Purpose, channel: Channel, network: str) -> SentCode:
        """Send a new code; earlier ones stay valid. `network` is the network prefix of the client.

        Raises:
            InvalidRequest: the country of the number gets no codes.
            RateLimited: a limit is reached; it has the exact wait.
            Unavailable: the daily budget is spent, or the sender failed.
        """
        subjects = self._subjects(number, network, self._options.tariff.cost_of(number))
        code = f"{secrets.randbelow(10**6):06d}"
        challenge = self._challenge(number, purpose, code)
        now = challenge.created_at
        answer = self._refused.find(subjects, now) or await self._store.open_challenge(
            challenge, subjects, self._options.limits
        )
        if isinstance(answer, OtpRefusal):
            self._refused.remember(subjects, answer, now)
            raise _as_error(answer, self._clock.now())
        try:
            await self._sender.send(OtpMessage(new_id(), number, code, purpose, channel, now))
        except SendFailed as failure:
            OTP_SENT.labels("failed" if failure.is_certain else "unclear").inc()
            await self._store.withdraw_challenge(challenge, is_certain=failure.is_certain)
            # The message may have been sent, so the number keeps its rate limit: a shorter wait would be refused.
            wait = round(RESEND_AFTER.total_seconds()) if self._options.limits.number else 1
            raise Unavailable("The code could not be sent.", retry_after_seconds=wait) from failure
        OTP_SENT.labels("sent").inc()
        grants = ((OTP_NUMBER.name, answer.number), (OTP_NETWORK.name, answer.network))
        return SentCode(challenge.challenge_id, [(name, grant) for name, grant in grants if grant])

    async def remaining(self, phone_sealed: bytes, network: str) -> dict[str, tuple[Grant, ...]]:
        """The remaining quota of each window for a sealed number: from this network, from all networks, and of this network to all numbers."""
        rules, now = self._options.limits, self._clock.now()
        subjects = self._subjects(self._pepper.unseal(phone_sealed), network, 0)
        sent = await self._store.load_history(subjects, rules, now)
        return {
            OTP_NUMBER.name: remaining_grants(rules.number, sent.number, now),
            OTP_TOTAL.name: remaining_grants(rules.total, sent.total, now),
            OTP_NETWORK.name: remaining_grants(rules.network, sent.network, now),
        }

    def reseal(self, sealed: bytes) -> HiddenNumber:
        """Hash and seal a sealed number again, under the current pepper. Raises Unavailable."""
        return self._pepper.hide(self._pepper.unseal(sealed))

    async def redeem(self, challenge_id: UUID, purpose: Purpose, code: str, phone_sealed: bytes | None = None) -> Guess:
        """Consume a code. Raises InvalidOtp.

        With `phone_sealed`, the sealed number of the caller's account, a challenge for another number is unknown: it loses no guess.
        """
        hashes = self._pepper.guess_hashes(challenge_id, purpose.value, code)
        numbers = (
            None
            if phone_sealed is None
            else tuple(self._pepper.hide(self._pepper.unseal(phone_sealed)).hashes.values())
        )
        guess = await self._store.judge_guess(challenge_id, purpose, hashes, self._clock.now(), numbers)
        self._monitor.record(is_right=guess is not None and guess.is_right)
        if guess is None or not guess.is_right:
            raise InvalidOtp(guess.guesses_left if guess else 0)
        return guess

    def _subjects(self, number: PhoneNumber, network: str, cost: int) -> OtpCounterKeys:
        prefix, area = prefix_and_area(number)
        keyed = self._pepper.keyed_hash
        return OtpCounterKeys(
            hash_number(self._pepper, number),
            keyed(b"vyry otp network 1", network.encode()).hex(),
            keyed(b"vyry otp prefix 1", prefix.encode()).hex(),
            keyed(b"vyry otp area 1", area.encode()).hex(),
            cost,
        )

    def _challenge(self, number: PhoneNumber, purpose: Purpose, code: str) -> Challenge:
        challenge_id, now, hidden = new_id(), self._clock.now(), self._pepper.hide(number)
        return Challenge(
            challenge_id,
            hidden.hash,
            hidden.sealed,
            purpose,
            self._pepper.hash_code(challenge_id, purpose.value, code),
            now,
            now + CODE_LIFETIME,
            self._options.guesses,
        )


class _RefusalCache:
    """Caches refusals until they end, so repeated requests do not reach the database, and logs each pause once."""

    def __init__(self) -> None:
        self._spent_until = datetime.min.replace(tzinfo=UTC)
        self._until: LruCache[str, OtpRefusal] = LruCache(_MAX_CACHED_REFUSALS)

    def find(self, subjects: OtpCounterKeys, now: datetime) -> OtpRefusal | None:
        found = (self._until.get(subject) for subject in (_pair(subjects), subjects.network))
        lasting = [refusal for refusal in found if refusal is not None and refusal.retry_at > now]
        return max(lasting, key=lambda refusal: refusal.retry_at, default=None)

    def remember(self, subjects: OtpCounterKeys, refusal: OtpRefusal, now: datetime) -> None:
        if refusal.limit is OtpLimitKind.NUMBER:
            self._until.put(_pair(subjects), refusal)
        elif refusal.limit is OtpLimitKind.NETWORK:
            self._until.put(subjects.network, refusal)
        elif refusal.limit is OtpLimitKind.SPEND and self._spent_until <= now:
            self._spent_until = refusal.retry_at
            log.warning(
                "otp_sending_paused",
                reason="the daily cap is reached",
                seconds=round((refusal.retry_at - now).total_seconds()),
            )
        if refusal.trips_breaker:
            log.warning(
                "otp_sending_paused",
                reason="few codes are verified",
                seconds=round((refusal.retry_at - now).total_seconds()),
            )


def _pair(subjects: OtpCounterKeys) -> str:
    """The cache key of a number and a network."""
    return f"{subjects.number} {subjects.network}"


def _as_error(refusal: OtpRefusal, now: datetime) -> RateLimited | Unavailable:
    """The error for a refused code."""
    wait = max(1, math.ceil((refusal.retry_at - now).total_seconds()))
    OTP_REFUSED.labels(refusal.limit.value).inc()
    if refusal.limit is OtpLimitKind.SPEND:
        return Unavailable("The daily limit for sending codes is reached.", retry_after_seconds=wait)
    names = {
        OtpLimitKind.NUMBER: OTP_NUMBER.name,
        OtpLimitKind.TOTAL: OTP_TOTAL.name,
        OtpLimitKind.NETWORK: OTP_NETWORK.name,
    }
    window, name = refusal.window, names.get(refusal.limit)
    policy = LimitPolicy(name, window.limit, window.seconds) if name and window else None
    return RateLimited(wait, policy=policy)


class GuessMonitor:
    """Counts the guesses of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: deque[tuple[datetime, bool]] = deque(maxlen=MAX_GUESSES)
        self._is_alarmed = False

    def record(self, *, is_right: bool) -> None:
        """Count a guess."""
        OTP_GUESSES.labels("right" if is_right else "wrong").inc()
        now = self._clock.now()
        self._recent.append((now, is_right))
        while self._recent[0][0] <= now - MONITOR_WINDOW:
            self._recent.popleft()
        wrong = sum(not each for _, each in self._recent)
        is_alarming = len(self._recent) >= MIN_GUESSES and wrong * 2 > len(self._recent)
        if is_alarming and not self._is_alarmed:
            log.warning(
                "otp_guessing_detected", count=len(self._recent), failures=wrong, seconds=MONITOR_WINDOW.total_seconds()
            )
        elif self._is_alarmed and wrong * 3 < len(self._recent):
            log.info("otp_guessing_ended", count=len(self._recent), failures=wrong)
            self._is_alarmed = False
        self._is_alarmed |= is_alarming
