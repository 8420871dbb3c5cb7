"""Recovery codes: with one its owner signs up to the account again, without a phone number and without any other device.

The code has 128 random bits (vyry/kernel/recovery_code.py); the database stores its hash. A try is counted by one statement before it is judged, for the
name and the network it comes from, and for the network: so tries from elsewhere cannot use up those of the owner. Nothing distinguishes a wrong code, an
unknown name and an account without a code: the same statements run, and they count the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from vyry.accounts.account import Caller, NewDevice, Platform, SignupResult
from vyry.accounts.device_status import SessionRevocations
from vyry.accounts.phone import Pepper
from vyry.accounts.pin import PinGuard
from vyry.accounts.recovery_codes import hash_given_code, new_recovery_code
from vyry.accounts.registration_lock import RegistrationLocked, UnlockTokenStore
from vyry.accounts.signup import NewSession, PinChallenge, new_device, open_session, save_challenge
from vyry.accounts.tokens import Tokens
from vyry.errors import InvalidRecoveryCode, LimitPolicy, RateLimited
from vyry.kernel.ids import UserId
from vyry.limits import RECOVERY_NETWORK, RECOVERY_TRIES, Quota, QuotaWindow, network_prefix


_SUBJECT: Final = b"vyry recovery try 1"


@dataclass(frozen=True, slots=True)
class RecoveryName:
    """The account that a recovery names: by its username, or by its id."""

    username: str | None = None
    user_id: UserId | None = None

    @property
    def counted_as(self) -> str:
        """The text that tries are counted by."""
        return f"@{self.username}" if self.user_id is None else str(self.user_id)


@dataclass(frozen=True, slots=True)
class TryLimit:
    """How many tries of a subject count, until none has counted for `window.seconds`."""

    subject: str
    quota: Quota

    @property
    def window(self) -> QuotaWindow:
        """The limit and its length."""
        return self.quota.windows[0]


@dataclass(frozen=True, slots=True)
class TriesLeft:
    """A counted try, and how many are left to the last of its subjects."""

    left: int


@dataclass(frozen=True, slots=True)
class TriesUsedUp:
    """No try is left to this subject until `until`; nothing was counted."""

    limit: TryLimit
    until: datetime


@dataclass(frozen=True, slots=True)
class CodeExchange:
    """The hash of the code that was given, and of the one that replaces it."""

    given: str
    fresh: str


class RecoveryStore(Protocol):
    """Stores recovery codes and counts tries. Every method raises `Unavailable` while the database is down."""

    async def count_try(self, limits: Sequence[TryLimit], now: datetime) -> TriesLeft | TriesUsedUp:
        """Count one try of every subject, by one statement each, in one transaction; count nothing if one of them has none left."""
        ...

    async def restore_tries(self, limits: Sequence[TryLimit]) -> None:
        """After a right code: forget the tries of the last subject, and the one try of each other."""
        ...

    async def recover(
        self, name: RecoveryName, codes: CodeExchange, device: NewDevice, now: datetime, *, confirmed: datetime
    ) -> SignupResult | None:
        """Replace the code, end all devices and install a new primary device, as a sign-up with a number does, in one transaction.

        None: no account has this name and this code. Of concurrent calls with one code one succeeds. Raises RegistrationLocked, Forbidden (suspended),
        both of which change nothing.
        """
        ...

    async def save_code(self, caller: Caller, code_hash: str, now: datetime) -> None:
        """Replace the recovery code of the caller's account, and record an account event. Raises InvalidToken for a deleted account."""
        ...

    async def has_code(self, user_id: UserId, code_hash: str) -> bool:
        """Whether this is the code of the account."""
        ...


class Recovery:
    """Recovers accounts, and makes and checks recovery codes."""

    def __init__(
        self,
        store: RecoveryStore,
        *,
        locks: UnlockTokenStore,
        pins: PinGuard,
        tokens: Tokens,
        revocations: SessionRevocations,
        pepper: Pepper,
        per_name: Quota = RECOVERY_TRIES,
        per_network: Quota | None = RECOVERY_NETWORK,
    ) -> None:
        self._store = store
        self._locks = locks
        self._pins = pins
        self._tokens = tokens
        self._revocations = revocations
        self._pepper = pepper
        self._per_name = per_name
        self._per_network = per_network

    async def recover(
        self, name: RecoveryName, code: str, device_name: str, platform: Platform, address: str
    ) -> NewSession | PinChallenge:
        """Sign up to the account by its recovery code, which a new one replaces; a PinChallenge if the registration lock is on.

        Raises InvalidRecoveryCode, alike for a wrong code, an unknown name and an account without a code; RateLimited, Forbidden, Unavailable.
        """
        limits = self._limits(name, network_prefix(address))
        left = await self._count(limits)
        clock, refresh, fresh = self._tokens.clock, self._tokens.new_refresh_token(), new_recovery_code()
        device, codes = new_device(refresh, device_name, platform), CodeExchange(hash_given_code(code), fresh.hash)
        now, confirmed = clock.now(), clock.confirmed_now()
        try:
            made = await self._store.recover(name, codes, device, now, confirmed=confirmed)
        except RegistrationLocked as lock:
            await self._store.restore_tries(limits)
            return await save_challenge(self._locks, lock.account_id, now, recovery_hash=codes.given)
        if made is None:
            raise InvalidRecoveryCode(left)
        await self._store.restore_tries(limits)
        await self._revocations.announce(made.ended_devices)
        return open_session(self._tokens, made, device, refresh, recovery_code=fresh.text)

    async def renew(self, caller: Caller, pin: str | None) -> str:
        """A new recovery code in place of any other. Raises InvalidPin, PinLocked, InvalidToken, RateLimited, Unavailable."""
        await self._pins.require(caller, pin)
        fresh = new_recovery_code()
        await self._store.save_code(caller, fresh.hash, self._tokens.clock.now())
        return fresh.text

    async def check(self, caller: Caller, code: str) -> None:
        """Check the recovery code of the caller's own account; it stays valid. Raises InvalidRecoveryCode, RateLimited, Unavailable."""
        limits = [TryLimit(self._subject(f"account {caller.user_id}"), self._per_name)]
        left = await self._count(limits)
        if not await self._store.has_code(caller.user_id, hash_given_code(code)):
            raise InvalidRecoveryCode(left)
        await self._store.restore_tries(limits)

    def _limits(self, name: RecoveryName, network: str) -> Sequence[TryLimit]:
        """The network first: in one order, so that no two transactions wait for each other."""
        own = TryLimit(self._subject(f"{name.counted_as} {network}"), self._per_name)
        if self._per_network is None:
            return [own]
        return [TryLimit(self._subject(f"network {network}"), self._per_network), own]

    def _subject(self, text: str) -> str:
        return self._pepper.keyed_hash(_SUBJECT, text.encode()).hex()

    async def _count(self, limits: Sequence[TryLimit]) -> int:
        """Count a try; returns how many are left. Raises RateLimited."""
        now = self._tokens.clock.now()
        counted = await self._store.count_try(limits, now)
        if isinstance(counted, TriesLeft):
            return counted.left
        quota = counted.limit.quota
        policy = LimitPolicy(quota.name, counted.limit.window.limit, counted.limit.window.seconds)
        raise RateLimited(math.ceil((counted.until - now).total_seconds()), policy=policy)
