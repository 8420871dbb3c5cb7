"""What follows once a number is proven: a session on a new primary device, or the PIN is asked for first."""

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


#: A fresh device starts with the sessions of this generation.
FIRST_GENERATION = 1


@dataclass(frozen=True, slots=True)
class NewSession:
    """A device just signed up."""

    tokens: TokenPair
    user_id: UserId
    device_id: DeviceId
    is_new_user: bool
    requires_profile_setup: bool


@dataclass(frozen=True, slots=True)
class PinChallenge:
    """A registration lock holds: nothing has changed, and this token with the PIN passes it within TOKEN_LIFETIME."""

    token: str = field(repr=False)


class Signup:
    """Lets people in whose number is proven."""

    def __init__(
        self, accounts: AccountStore, locks: LockStore, pins: Pins, tokens: Tokens, endings: SessionRevocations
    ) -> None:
        self._accounts = accounts
        self._locks = locks
        self._pins = pins
        self._tokens = tokens
        self._revocations = endings

    async def sign_up(self, number: HiddenNumber, name: str, platform: Platform) -> NewSession | PinChallenge:
        """A new primary device, with which all others of the account end, unless its lock holds. Raises Forbidden, Unavailable."""
        refresh, now = self._tokens.new_refresh_token(), self._tokens.clock.now()
        device = _device(refresh, name, platform)
        try:
            made = await self._accounts.sign_up(number, device, now, confirmed=self._tokens.clock.confirmed_now())
        except RegistrationLocked as held:
            token = secrets.token_urlsafe(32)
            await self._locks.save_token(held.account_id, PendingToken(hash_token(token), now + TOKEN_LIFETIME), now)
            return PinChallenge(token)
        return await self._open_session(made, device, refresh)

    async def unlock(self, token: str, pin: str, name: str, platform: Platform) -> NewSession:
        """Sign up with the PIN, too; the token is good once, and stays good for a wrong PIN.

        Raises InvalidToken, InvalidPin, PinLocked, PinRequired (a lock was set this moment), Forbidden, Unavailable.
        """
        token_hash = hash_token(token)
        clock = self._tokens.clock
        waiting = await self._locks.find_pending(token_hash, clock.confirmed_now())
        if waiting is None:
            raise InvalidToken
        # Where no lock holds any more the number alone would do: so it does here.
        proven = await self._pins.prove(Guesser(waiting.account_id), pin) if waiting.is_locked else None
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
