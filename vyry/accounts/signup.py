"""The last step of a sign-up: a session of a new primary device, or a PinChallenge if the registration lock is on."""

import secrets
from dataclasses import dataclass, field

from vyry.accounts.account import AccountStore, NewDevice, Platform, SignupResult
from vyry.accounts.device_status import SessionRevocations
from vyry.accounts.phone import HiddenNumber
from vyry.accounts.pin import Guesser, Pins
from vyry.accounts.registration_lock import TOKEN_LIFETIME, LockStore, PendingToken, RegistrationLocked
from vyry.accounts.tokens import RefreshToken, TokenPair, Tokens, hash_token
from vyry.errors import InvalidToken
from vyry.kernel.ids import DeviceId, MailboxId, UserId, new_id


#: The session generation of a new device.
FIRST_GENERATION = 1


@dataclass(frozen=True, slots=True)
class NewSession:
    """The session of a new device."""

    tokens: TokenPair
    user_id: UserId
    device_id: DeviceId
    is_new_user: bool
    requires_profile_setup: bool


@dataclass(frozen=True, slots=True)
class PinChallenge:
    """The registration lock is on and nothing has changed. The token, with the PIN, completes the sign-up within TOKEN_LIFETIME."""

    token: str = field(repr=False)


class Signup:
    """Signs up verified numbers."""

    def __init__(
        self, accounts: AccountStore, locks: LockStore, pins: Pins, tokens: Tokens, revocations: SessionRevocations
    ) -> None:
        self._accounts = accounts
        self._locks = locks
        self._pins = pins
        self._tokens = tokens
        self._revocations = revocations

    async def sign_up(self, number: HiddenNumber, name: str, platform: Platform) -> NewSession | PinChallenge:
        """Create a new primary device and end all others of the account, unless its lock is on. Raises Forbidden, Unavailable."""
        refresh, now = self._tokens.new_refresh_token(), self._tokens.clock.now()
        device = _device(refresh, name, platform)
        try:
            made = await self._accounts.sign_up(number, device, now, confirmed=self._tokens.clock.confirmed_now())
        except RegistrationLocked as lock:
            token = secrets.token_urlsafe(32)
            await self._locks.save_token(lock.account_id, PendingToken(hash_token(token), now + TOKEN_LIFETIME), now)
            return PinChallenge(token)
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
        device = _device(refresh, name, platform)
        verifier = None if proven is None else proven.text
        made = await self._accounts.unlock(token_hash, verifier, device, clock.now(), confirmed=clock.confirmed_now())
        return await self._open_session(made, device, refresh)

    async def _open_session(self, made: SignupResult, device: NewDevice, refresh: RefreshToken) -> NewSession:
        await self._revocations.announce(made.ended_devices)
        pair = self._tokens.issue_pair(made.user_id, device.device, FIRST_GENERATION, refresh.text, refresh.expires_at)
        return NewSession(pair, made.user_id, made.device_id, made.is_new_user, not made.has_display_name)


def _device(refresh: RefreshToken, name: str, platform: Platform) -> NewDevice:
    return NewDevice(
        new_id(),
        MailboxId(new_id()),
        name,
        platform,
        refresh.hash,
        refresh.expires_at,
        refresh.family_ends_at,
    )
