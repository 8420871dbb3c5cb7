"""One-time codes: sent to a number, good once, for one purpose, for three minutes and five guesses.

Nothing here looks whether the number has an account, so known and unknown numbers cannot be told apart. A code lives in the database as a keyed hash;
guesses and success are counted by the one statement that judges them, so no number of parallel tries gets a sixth guess or a second success. What may be
sent is counted in the database too (sending.py). A challenge stays good to its end whatever else is asked for or guessed at: anybody may ask for a code of
any number, and nobody must end the code of its owner. So the guesses at a number are five for each code that may be sent to it, and no more. The challenge's id is the secret of the device that asked: it travels with no message, so whoever reads
a code on its way cannot use it.
"""

import math
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.guess_monitor import GuessMonitor
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
from vyry.accounts.phone import HiddenNumber, Pepper, PhoneNumber
from vyry.clock import Clock
from vyry.errors import InvalidOtp, LimitPolicy, RateLimited, Unavailable
from vyry.kernel.ids import new_id
from vyry.kernel.lru_cache import LruCache
from vyry.limits import OTP_NETWORK, OTP_NUMBER, OTP_TOTAL, Grant
from vyry.telemetry import OTP_REFUSED, OTP_SENT, log


GUESSES: Final = 5
#: What the hash of the right code may be: under the pepper in use, and under the one before.
CodeHashes = tuple[bytes, bytes]
#: Hashes of one number, under all peppers; None: any number.
PhoneHashes = Collection[str] | None
#: So many refusals are remembered by a process, to repeat them without asking the database.
_REMEMBERED: Final = 10_000


class Purpose(Enum):
    """What a code is good for."""

    LOGIN = "login"
    PIN_RESET = "pinReset"
    DELETE_ACCOUNT = "deleteAccount"


class Channel(Enum):
    """How a code travels."""

    SMS = "sms"
    VOICE = "voice"


@dataclass(frozen=True, slots=True)
class OtpMessage:
    """A code on its way to a person. `message_id` lets a gateway drop a message it has sent already; it is not the challenge's."""

    message_id: UUID
    number: PhoneNumber
    otp: str = field(repr=False)
    purpose: Purpose
    channel: Channel
    at: datetime


class SendFailed(Exception):
    """A sender failed. `is_certain`: no message is on its way; else nobody knows, and it counts as sent and paid for."""

    def __init__(self, *, is_certain: bool) -> None:
        super().__init__(is_certain)
        self.is_certain = is_certain


class OtpSender(Protocol):
    """Carries codes to people."""

    async def send(self, message: OtpMessage) -> None:
        """Hand the code over, or raise NotSent within 10 s."""
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
    """A guess that was counted, and the number whose code it was about."""

    is_right: bool
    guesses_left: int
    phone_hash: str
    phone_sealed: bytes = field(repr=False)


class OtpStore(Protocol):
    """The truth about challenges and about what was sent. Every method raises `Unavailable` when the database is away."""

    async def open_challenge(
        self, challenge: Challenge, subjects: OtpCounterKeys, rules: OtpLimits
    ) -> OtpAdmission | OtpRefusal:
        """Do what `decide` says of all that was sent before: store the challenge beside the older ones and count it; or nothing.

        Parallel calls, on any node, are decided one after the other if they have a number, a network, a prefix or a budget in common.
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
        """Count and judge one guess in one step; a right one uses the challenge up, and proves its number for the network that asked for it. None: nothing there to guess at (any more).

        With `of` (hashes of a number) a challenge for any other number is not there.
        """
        ...

    async def withdraw_challenge(self, challenge: Challenge, *, is_certain: bool) -> None:
        """Forget a challenge whose code was not sent; if that is certain, it cost nothing and says nothing about its prefix."""
        ...

    async def load_history(self, subjects: OtpCounterKeys, rules: OtpLimits, now: datetime) -> OtpHistory:
        """What was sent to and from these."""
        ...


@dataclass(frozen=True, slots=True)
class SentCode:
    """A code is on its way; what the limits have left is told with it, by their names."""

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
        self, store: OtpStore, sender: OtpSender, pepper: Pepper, clock: Clock, terms: OtpOptions | None = None
    ) -> None:
        self._store = store
        self._sender = sender
        self._pepper = pepper
        self._clock = clock
        self._terms = terms or OtpOptions()
        self._refused = _RefusalCache()
        self._watch = GuessMonitor(clock)

    async def send(self, number: PhoneNumber, purpose: Purpose, channel: Channel, network: str) -> SentCode:
        """Send a fresh code; older ones stay good to their ends. `network` is who asks.

        Raises InvalidRequest for a country that gets no codes, RateLimited with the true wait, Unavailable if nothing may be spent or it could not be sent.
        """
        subjects = self._subjects(number, network, self._terms.tariff.cost_of(number))
        code = f"{secrets.randbelow(10**6):06d}"
        challenge = self._challenge(number, purpose, code)
        now = challenge.created_at
        answer = self._refused.find(subjects, now) or await self._store.open_challenge(
            challenge, subjects, self._terms.limits
        )
        if isinstance(answer, OtpRefusal):
            self._refused.remember(subjects, answer, now)
            raise _as_error(answer, self._clock.now())
        try:
            await self._sender.send(OtpMessage(new_id(), number, code, purpose, channel, now))
        except SendFailed as failure:
            OTP_SENT.labels("failed" if failure.is_certain else "unclear").inc()
            await self._store.withdraw_challenge(challenge, is_certain=failure.is_certain)
            # The pace of the number stands, for the message may have got through: a wait shorter than that would be a lie.
            wait = round(RESEND_AFTER.total_seconds()) if self._terms.limits.number else 1
            raise Unavailable("The message could not be sent.", retry_after_seconds=wait) from failure
        OTP_SENT.labels("sent").inc()
        told = ((OTP_NUMBER.name, answer.number), (OTP_NETWORK.name, answer.network))
        return SentCode(challenge.challenge_id, [(name, grant) for name, grant in told if grant])

    async def remaining(self, phone_sealed: bytes, network: str) -> dict[str, tuple[Grant, ...]]:
        """What each window has left, by the limit's name, of a number (sealed) from this network, from all, and of this network; takes nothing."""
        rules, now = self._terms.limits, self._clock.now()
        subjects = self._subjects(self._pepper.unseal(phone_sealed), network, 0)
        sent = await self._store.load_history(subjects, rules, now)
        return {
            OTP_NUMBER.name: remaining_grants(rules.number, sent.number, now),
            OTP_TOTAL.name: remaining_grants(rules.total, sent.total, now),
            OTP_NETWORK.name: remaining_grants(rules.network, sent.network, now),
        }

    def reseal(self, sealed: bytes) -> HiddenNumber:
        """The number behind a seal, as it is to be stored from now on. Raises Unavailable."""
        return self._pepper.hide(self._pepper.unseal(sealed))

    async def redeem(self, challenge_id: UUID, purpose: Purpose, code: str, phone_sealed: bytes | None = None) -> Guess:
        """Use a code up: it is right and nobody used it before. Raises InvalidOtp.

        With `of`, the sealed number of the caller's account, a challenge for another number is unknown: it loses no guess and stays good for its owner.
        """
        hashes = self._pepper.guess_hashes(challenge_id, purpose.value, code)
        numbers = (
            None
            if phone_sealed is None
            else tuple(self._pepper.hide(self._pepper.unseal(phone_sealed)).hashes.values())
        )
        guess = await self._store.judge_guess(challenge_id, purpose, hashes, self._clock.now(), numbers)
        self._watch.record(is_right=guess is not None and guess.is_right)
        if guess is None or not guess.is_right:
            raise InvalidOtp(guess.guesses_left if guess else 0)
        return guess

    def _subjects(self, number: PhoneNumber, network: str, cost: int) -> OtpCounterKeys:
        prefix, area = prefix_and_area(number)
        keyed = self._pepper.keyed_hash
        return OtpCounterKeys(
            self._pepper.hash_number(number),
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
            self._terms.guesses,
        )


class _RefusalCache:
    """Refusals that only time can end, so that a flood of the same is answered without the database, and the operator hears of each pause once."""

    def __init__(self) -> None:
        self._spent_until = datetime.min.replace(tzinfo=UTC)
        self._until: LruCache[str, OtpRefusal] = LruCache(_REMEMBERED)

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
                "sending paused",
                reason="the daily cap is reached",
                seconds=round((refusal.retry_at - now).total_seconds()),
            )
        if refusal.trips_breaker:
            log.warning(
                "sending paused",
                reason="few codes are verified",
                seconds=round((refusal.retry_at - now).total_seconds()),
            )


def _pair(subjects: OtpCounterKeys) -> str:
    """A number and the network that asks."""
    return f"{subjects.number} {subjects.network}"


def _as_error(refusal: OtpRefusal, now: datetime) -> RateLimited | Unavailable:
    """What the caller is told."""
    wait = max(1, math.ceil((refusal.retry_at - now).total_seconds()))
    OTP_REFUSED.labels(refusal.limit.value).inc()
    if refusal.limit is OtpLimitKind.SPEND:
        return Unavailable("No more codes are sent for now.", retry_after_seconds=wait)
    names = {
        OtpLimitKind.NUMBER: OTP_NUMBER.name,
        OtpLimitKind.TOTAL: OTP_TOTAL.name,
        OtpLimitKind.NETWORK: OTP_NETWORK.name,
    }
    window, name = refusal.window, names.get(refusal.limit)
    policy = LimitPolicy(name, window.limit, window.seconds) if name and window else None
    return RateLimited(wait, policy=policy)
