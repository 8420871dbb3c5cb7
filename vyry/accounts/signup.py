"""Sign-up: the node sends a one-time code to a number, and exchanges it for a session of a new primary device.

A request for a code may need a proof (SignupGuard), in the header `X-Vyry-Proof`: none, a proof of work, or a token (a captcha) that a webhook verifies.
It is verified before anything is counted or looked up. If the registration lock is on, the code yields a PinChallenge, which the PIN completes.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import AccountStore, NewDevice, Platform, SignupResult
from vyry.accounts.device_status import SessionRevocations
from vyry.accounts.otp import Channel, OneTimeCodes, Purpose, SentCode
from vyry.accounts.phone import HiddenNumber, PhoneNumber, read_number
from vyry.accounts.pin import Guesser, Pins
from vyry.accounts.recovery_codes import new_recovery_code
from vyry.accounts.registration_lock import TOKEN_LIFETIME, RegistrationLocked, StoredUnlockToken, UnlockTokenStore
from vyry.accounts.tokens import RefreshToken, TokenPair, Tokens, hash_token
from vyry.clock import Clock
from vyry.errors import Forbidden, InvalidRequest, InvalidToken
from vyry.kernel.ids import DeviceId, MailboxId, UserId, new_id
from vyry.limits import network_prefix


PROOF_HEADER: Final = "X-Vyry-Proof"
#: How far the time of a proof may differ from the node's. Within it a proof can be reused for its number, which has a rate limit of its own.
PROOF_MAX_AGE: Final = timedelta(minutes=5)
_LONGEST: Final = 100
#: The session generation of a new device.
FIRST_GENERATION: Final = 1


class SignupGuard(Protocol):
    """Verifies the proof of a request for a code."""

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:
        """Return if the proof is valid. Raises InvalidRequest, or Unavailable if it cannot be verified."""
        ...


class NoGuard:
    """Requires no proof."""

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:
        """Pass."""


class ProofOfWork:
    """Requires a proof of work: a text SECONDS:NONCE (seconds since 1970, any nonce) for which SHA-256 of `vyry proof 1:NUMBER:SECONDS:NONCE` begins with `bits` zero bits."""

    def __init__(self, bits: int, clock: Clock) -> None:
        self._bits = bits
        self._clock = clock

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:  # noqa: ARG002  the protocol's
        """Return if the proof is for this number and not older than PROOF_MAX_AGE."""
        seconds = (proof or "").partition(":")[0]
        is_dated = seconds.isascii() and seconds.isdigit() and len(proof or "") <= _LONGEST
        age = abs(self._clock.now().timestamp() - int(seconds)) if is_dated else PROOF_MAX_AGE.total_seconds() + 1
        if age > PROOF_MAX_AGE.total_seconds() or leading_zero_bits(number, proof or "") < self._bits:
            raise invalid_proof(f"needs a proof of work of {self._bits} bits for this number, not older than 5 minutes")


def leading_zero_bits(number: PhoneNumber, proof: str) -> int:
    """How many zero bits the hash of this proof begins with."""
    digest = sha256(f"vyry proof 1:{number.e164}:{proof}".encode(errors="replace")).digest()
    return 8 * len(digest) - int.from_bytes(digest).bit_length()


def invalid_proof(problem: str) -> InvalidRequest:
    """The error for a missing or invalid proof, with the requirement."""
    return InvalidRequest(fields=[{"field": PROOF_HEADER, "problem": problem}])


@dataclass(frozen=True, slots=True)
class NewSession:
    """The session of a new device."""

    tokens: TokenPair
    user_id: UserId
    device_id: DeviceId
    is_new_user: bool
    requires_profile_setup: bool
    #: A new recovery code, of a sign-up that has one.
    recovery_code: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PinChallenge:
    """The registration lock is on and nothing has changed. The token, with the PIN, completes the sign-up within TOKEN_LIFETIME."""

    token: str = field(repr=False)


class Signup:
    """Signs up verified numbers."""

    def __init__(
        self,
        accounts: AccountStore,
        locks: UnlockTokenStore,
        pins: Pins,
        tokens: Tokens,
        revocations: SessionRevocations,
    ) -> None:
        self._accounts = accounts
        self._locks = locks
        self._pins = pins
        self._tokens = tokens
        self._revocations = revocations

    async def sign_up(self, number: HiddenNumber, name: str, platform: Platform) -> NewSession | PinChallenge:
        """Create a new primary device and end all others of the account, unless its lock is on. Raises Forbidden, Unavailable."""
        refresh, now = self._tokens.new_refresh_token(), self._tokens.clock.now()
        device = new_device(refresh, name, platform)
        try:
            made = await self._accounts.sign_up(number, device, now, confirmed=self._tokens.clock.confirmed_now())
        except RegistrationLocked as lock:
            return await save_challenge(self._locks, lock.account_id, now)
        return await self._open_session(made, device, refresh)

    async def unlock(self, token: str, pin: str, name: str, platform: Platform) -> NewSession:
        """Complete a sign-up with the token and the PIN. A wrong PIN does not consume the token.

        Raises InvalidToken, InvalidPin, PinLocked, PinRequired (the lock was set meanwhile), Forbidden, Unavailable.
        """
        token_hash = hash_token(token)
        clock = self._tokens.clock
        pending = await self._locks.find_pending(token_hash, clock.confirmed_now())
        if pending is None:
            raise InvalidToken
        # If the lock is no longer on, the PIN is not needed.
        proven = await self._pins.prove(Guesser(pending.account_id), pin) if pending.is_locked else None
        refresh = self._tokens.new_refresh_token()
        device = new_device(refresh, name, platform)
        verifier = None if proven is None else proven.text
        fresh = None if pending.recovery_hash is None else new_recovery_code()
        made = await self._accounts.unlock(
            token_hash,
            verifier,
            device,
            clock.now(),
            confirmed=clock.confirmed_now(),
            fresh_recovery=None if fresh is None else fresh.hash,
        )
        return await self._open_session(made, device, refresh, None if fresh is None else fresh.text)

    async def _open_session(
        self, made: SignupResult, device: NewDevice, refresh: RefreshToken, recovery_code: str | None = None
    ) -> NewSession:
        await self._revocations.announce(made.ended_devices)
        return open_session(self._tokens, made, device, refresh, recovery_code=recovery_code)


def open_session(
    tokens: Tokens, made: SignupResult, device: NewDevice, refresh: RefreshToken, *, recovery_code: str | None = None
) -> NewSession:
    """The session of a device that has just been installed."""
    pair = tokens.issue_pair(made.user_id, device.device, FIRST_GENERATION, refresh.text, refresh.expires_at)
    return NewSession(
        pair, made.user_id, made.device_id, made.is_new_user, not made.has_display_name, recovery_code=recovery_code
    )


async def save_challenge(
    locks: UnlockTokenStore, account_id: UUID, now: datetime, *, recovery_hash: str | None = None
) -> PinChallenge:
    """Ask for the PIN: save a new unlock token. `recovery_hash`: the hash of the recovery code that passed before. Raises Unavailable."""
    token = secrets.token_urlsafe(32)
    stored = StoredUnlockToken(hash_token(token), now + TOKEN_LIFETIME, recovery_hash)
    await locks.save_token(account_id, stored, now)
    return PinChallenge(token)


def new_device(refresh: RefreshToken, name: str, platform: Platform) -> NewDevice:
    """A device about to be installed."""
    return NewDevice(
        new_id(),
        MailboxId(new_id()),
        name,
        platform,
        refresh.hash,
        refresh.expires_at,
        refresh.family_ends_at,
    )


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """The client that requests a code: its address, and its proof (docs/protocol.md, "Proof")."""

    address: str
    proof: str | None = None


class Registration:
    """Requests and redeems sign-up codes."""

    def __init__(self, codes: OneTimeCodes, signup_guard: SignupGuard, signup: Signup, *, is_open: bool = True) -> None:
        self._codes = codes
        self._signup_guard = signup_guard
        self._signup = signup
        #: Whether the node signs up by number (VYRY_SIGN_UP).
        self._is_open = is_open

    async def request_otp(
        self, phone_number: str, purpose: Purpose, channel: Channel, origin: RequestOrigin
    ) -> SentCode:
        """Send a code, whether or not the number has an account. Raises Forbidden, InvalidRequest, RateLimited, Unavailable."""
        number = read_number(phone_number)
        if purpose is Purpose.LOGIN:
            self._check_open()
        await self._signup_guard.check_proof(origin.proof, number, origin.address)
        return await self._codes.send(number, purpose, channel, network_prefix(origin.address))

    async def verify_otp(
        self, challenge_id: UUID, otp: str, name: str, platform: Platform
    ) -> NewSession | PinChallenge:
        """Sign up with a code, which ends all other devices of the account; returns a PinChallenge if the registration lock is on. Raises InvalidOtp, Forbidden, Unavailable."""
        self._check_open()
        guess = await self._codes.redeem(challenge_id, Purpose.LOGIN, otp)
        return await self._signup.sign_up(self._codes.reseal(guess.phone_sealed), name, platform)

    async def unlock(self, token: str, pin: str, name: str, platform: Platform) -> NewSession:
        """Complete a sign-up at the registration lock with the PIN. Raises InvalidToken, InvalidPin, PinLocked, PinRequired, Forbidden, Unavailable."""
        return await self._signup.unlock(token, pin, name, platform)

    def _check_open(self) -> None:
        if not self._is_open:
            raise Forbidden("This node signs no one up by phone number.")
