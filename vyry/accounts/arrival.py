"""What follows once a number is proven: a session on a new primary device, or the PIN is asked for first."""

import secrets
from dataclasses import dataclass, field

from vyry.accounts.account import AccountStore, NewDevice, Platform, SignedUp
from vyry.accounts.lock import TOKEN_LIFETIME, LockStore, PendingToken, RegistrationHeld
from vyry.accounts.phone import HiddenNumber
from vyry.accounts.pin import Guesser, Pins
from vyry.accounts.standings import Endings
from vyry.accounts.tokens import RefreshToken, TokenPair, Tokens, hash_token
from vyry.errors import InvalidToken
from vyry.ids import DeviceId, MailboxId, UserId, new_id


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
class PinAsked:
    """A registration lock holds: nothing has changed, and this token with the PIN passes it within TOKEN_LIFETIME."""

    token: str = field(repr=False)


class Arrivals:
    """Lets people in whose number is proven."""

    def __init__(self, accounts: AccountStore, locks: LockStore, pins: Pins, tokens: Tokens, endings: Endings) -> None:
        self._accounts = accounts
        self._locks = locks
        self._pins = pins
        self._tokens = tokens
        self._endings = endings

    async def sign_up(self, number: HiddenNumber, name: str, platform: Platform) -> NewSession | PinAsked:
        """A new primary device, with which all others of the account end, unless its lock holds. Raises Forbidden, Unavailable."""
        refresh, now = self._tokens.fresh(), self._tokens.clock.now()
        device = _device(refresh, name, platform)
        try:
            made = await self._accounts.sign_up(number, device, now, confirmed=self._tokens.clock.confirmed())
        except RegistrationHeld as held:
            token = secrets.token_urlsafe(32)
            await self._locks.hold(held.account_id, PendingToken(hash_token(token), now + TOKEN_LIFETIME), now)
            return PinAsked(token)
        return await self._begin(made, device, refresh)

    async def unlock(self, token: str, pin: str, name: str, platform: Platform) -> NewSession:
        """Sign up with the PIN, too; the token is good once, and stays good for a wrong PIN.

        Raises InvalidToken, InvalidPin, PinLocked, PinRequired (a lock was set this moment), Forbidden, Unavailable.
        """
        token_hash = hash_token(token)
        clock = self._tokens.clock
        waiting = await self._locks.waiting(token_hash, clock.confirmed())
        if waiting is None:
            raise InvalidToken
        # Where no lock holds any more the number alone would do: so it does here.
        proven = await self._pins.prove(Guesser(waiting.account_id), pin) if waiting.is_locked else None
        refresh = self._tokens.fresh()
        device = _device(refresh, name, platform)
        verifier = None if proven is None else proven.text
        made = await self._accounts.unlock(token_hash, verifier, device, clock.now(), confirmed=clock.confirmed())
        return await self._begin(made, device, refresh)

    async def _begin(self, made: SignedUp, device: NewDevice, refresh: RefreshToken) -> NewSession:
        await self._endings.tell(made.ended)
        pair = self._tokens.pair(made.user_id, device.device, FIRST_GENERATION, refresh.text, refresh.expires_at)
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
