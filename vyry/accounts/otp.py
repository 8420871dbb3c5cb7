"""One-time codes: sent to a number, good once, for one purpose, for three minutes and five guesses.

Nothing here looks whether the number has an account, so known and unknown numbers cannot be told apart. A code lives in the database as a keyed hash;
guesses and success are counted by the one statement that judges them, so no number of parallel tries gets a sixth guess or a second success.
"""

import math
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.clock import Clock
from vyry.errors import InvalidOtp, RateLimited, Unavailable
from vyry.ids import new_id


CODE_LIFETIME: Final = timedelta(seconds=180)
RESEND_AFTER: Final = timedelta(seconds=30)
GUESSES: Final = 5


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
    """A code on its way to a person. `challenge_id` lets a gateway drop a message it has sent already."""

    challenge_id: UUID
    number: PhoneNumber
    otp: str = field(repr=False)
    purpose: Purpose
    channel: Channel
    at: datetime


class OtpSender(Protocol):
    """Carries codes to people."""

    async def send(self, message: OtpMessage) -> None:
        """Hand the code over, or raise Unavailable within 10 s."""
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


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess that was counted, and the number whose code it was about."""

    is_right: bool
    guesses_left: int
    phone_hash: str
    phone_sealed: bytes = field(repr=False)


class OtpStore(Protocol):
    """The truth about challenges. Every method raises `Unavailable` when the database is away."""

    async def open(self, challenge: Challenge, resend_after: timedelta) -> datetime | None:
        """Store the challenge with GUESSES guesses and end the older one of this number and purpose: None.

        If this number was sent any code less than `resend_after` before `created_at`, nothing is stored and that moment is answered; of parallel calls one wins.
        """
        ...

    async def guess(self, challenge_id: UUID, purpose: Purpose, code_hash: bytes, now: datetime) -> Guess | None:
        """Count and judge one guess in one step; a right one uses the challenge up. None: nothing there to guess at (any more)."""
        ...

    async def withdraw(self, challenge_id: UUID) -> None:
        """Forget a challenge whose code was not sent."""
        ...


class OneTimeCodes:
    """Sends codes and judges guesses."""

    def __init__(
        self,
        store: OtpStore,
        sender: OtpSender,
        pepper: Pepper,
        clock: Clock,
        resend_after: timedelta = RESEND_AFTER,
    ) -> None:
        self._store = store
        self._sender = sender
        self._pepper = pepper
        self._clock = clock
        self._resend_after = resend_after

    def hash_number(self, number: PhoneNumber) -> str:
        """The name of a number in stores and limiters."""
        return self._pepper.hash_number(number)

    async def send(self, number: PhoneNumber, purpose: Purpose, channel: Channel) -> UUID:
        """Send a fresh code; the older one for this purpose is dead. Raises RateLimited with the true wait, Unavailable if it could not be sent."""
        challenge_id, code, now = new_id(), f"{secrets.randbelow(10**6):06d}", self._clock.now()
        hidden = self._pepper.hide(number)
        challenge = Challenge(
            challenge_id,
            hidden.hash,
            hidden.sealed,
            purpose,
            self._pepper.hash_code(challenge_id, purpose.value, code),
            now,
            now + CODE_LIFETIME,
        )
        last = await self._store.open(challenge, self._resend_after)
        if last is not None:
            raise RateLimited(math.ceil((last + self._resend_after - now).total_seconds()))
        try:
            await self._sender.send(OtpMessage(challenge_id, number, code, purpose, channel, now))
        except Unavailable as error:
            await self._store.withdraw(challenge_id)
            # The pace of the number stands, for the message may have got through: a wait shorter than that would be a lie.
            wait = max(1, round(self._resend_after.total_seconds()))
            raise Unavailable("The message could not be sent.", retry_after_seconds=wait) from error
        return challenge_id

    async def redeem(self, challenge_id: UUID, purpose: Purpose, code: str) -> Guess:
        """Use a code up: it is right and nobody used it before. Raises InvalidOtp."""
        code_hash = self._pepper.hash_code(challenge_id, purpose.value, code)
        guess = await self._store.guess(challenge_id, purpose, code_hash, self._clock.now())
        if guess is None or not guess.is_right:
            raise InvalidOtp(guess.guesses_left if guess else 0)
        return guess
