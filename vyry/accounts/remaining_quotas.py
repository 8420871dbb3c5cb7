"""The remaining quotas of a caller (GET /limits); reading them consumes nothing."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from vyry import limits
from vyry.accounts.account import AccountStore, Caller
from vyry.accounts.otp import OneTimeCodes
from vyry.accounts.pin import Pins
from vyry.accounts.signup_invitations import SignupInvitations
from vyry.accounts.usernames import Usernames
from vyry.kernel.ids import UserId
from vyry.limits import Grant, Quota, QuotaReader, network_key, network_prefix, unused_grants
from vyry.local_limits import BucketLimiter


#: Counted in the database, by the count of open sockets, or with a subject that is no account.
_COUNTED_ELSEWHERE: Final = (
    *(limits.OTP_NUMBER, limits.OTP_TOTAL, limits.OTP_NETWORK, limits.OTP_GUESSES, limits.PIN_TRIES, limits.USERNAMES),
    *(limits.RECOVERY_TRIES, limits.RECOVERY_NETWORK, limits.MEMBER_INVITES),
    *(limits.CLAIM_TARGET, limits.FRAMES, limits.SOCKETS_ACCOUNT, limits.SOCKETS_ADDRESS),
)
#: The quotas that all nodes share; counted by account, unless `_read_shared` has another subject.
SHARED: Final = tuple(quota for quota in limits.QUOTAS.values() if quota not in _COUNTED_ELSEWHERE)


class SocketCounter(Protocol):
    """Counts sockets."""

    async def remaining(self, user_id: UserId, address: str) -> Sequence[tuple[str, Grant]]:
        """The free connection slots of this account and address."""
        ...


class RemainingQuotas:
    """Reads all quotas of a caller."""

    def __init__(
        self,
        quotas: Mapping[str, Quota],
        *,
        accounts: AccountStore,
        usernames: Usernames,
        invitations: SignupInvitations,
        codes: OneTimeCodes,
        pins: Pins,
        shared: QuotaReader,
        buckets: BucketLimiter,
        sockets: SocketCounter,
    ) -> None:
        self._quotas = quotas
        self._accounts = accounts
        self._usernames = usernames
        self._invitations = invitations
        self._codes = codes
        self._pins = pins
        self._shared = shared
        self._buckets = buckets
        self._sockets = sockets

    async def report(self, caller: Caller, address: str) -> list[tuple[str, Grant]]:
        """Every window of every quota, by the name of the quota, in the order of the table.

        A quota with another subject (a challenge, the target of claims, the frames of one socket) is reported as unused.
        """
        found = {name: unused_grants(quota) for name, quota in self._quotas.items()}
        found |= await self._read_shared(caller, address)
        found |= await self._read_codes(caller, address)
        tries = self._quotas[limits.PIN_TRIES.name].windows[0]
        left = await self._pins.tries_left(caller.user_id)
        found[limits.PIN_TRIES.name] = (Grant(tries.limit, left, 0, tries.seconds),)
        found[limits.USERNAMES.name] = (await self._usernames.remaining(caller.user_id),)
        found[limits.MEMBER_INVITES.name] = (await self._invitations.remaining(caller.user_id),)
        for name, grant in await self._sockets.remaining(caller.user_id, address):
            found[name] = (grant,)
        return [(name, grant) for name, grants in found.items() for grant in grants]

    async def _read_shared(self, caller: Caller, address: str) -> dict[str, tuple[Grant, ...]]:
        account = str(caller.user_id)
        device = str(caller.device)
        subjects = {
            limits.LINK_SESSIONS.name: network_key(address),
            limits.JOIN.name: network_key(address),
            limits.SIGNAL.name: device,
            limits.DEVICE_REQUESTS.name: device,
        }
        queries = [(self._quotas[quota.name], subjects.get(quota.name, account)) for quota in SHARED]
        remaining = await self._shared.peek(queries)
        found = {quota.name: grants for (quota, _), grants in zip(queries, remaining, strict=True)}
        for quota in (
            limits.PIN_CHECKS,
            limits.REQUESTS,
            limits.DEVICE_REQUESTS,
            limits.POST,
            limits.POST_BYTES,
            limits.SIGNAL,
        ):
            # The other nodes do not know yet what this node granted a moment ago.
            here = self._buckets.peek(quota, subjects.get(quota.name, account))
            found[quota.name] = (min(here, *found[quota.name], key=lambda grant: grant.remaining),)
        return found

    async def _read_codes(self, caller: Caller, address: str) -> dict[str, tuple[Grant, ...]]:
        account = await self._accounts.load(caller.user_id)
        if account.phone_sealed is None:
            return {}
        left = await self._codes.remaining(account.phone_sealed, network_prefix(address))
        return {name: grants for name, grants in left.items() if grants}
