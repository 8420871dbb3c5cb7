"""Limits: the named quotas of docs/protocol.md ("Limits"), and the protocols of the limiters.

A `Quota` is one or more rates that all apply. A sliding window never admits more than `limit` in any stretch of `seconds`; a bucket has `limit` tokens and
refills at `limit` each `seconds`. Guesses and sockets are in the same table, but are counted elsewhere: guesses by the database, sockets by
vyry/signals/socket_quotas.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, lru_cache
from ipaddress import ip_address, ip_network
from typing import Final, Protocol

from vyry.errors import LimitPolicy, RateLimited


_DAY: Final = 86_400
_MIB: Final = 1 << 20
#: Windows up to this limit keep every moment; larger ones round it up to a 64th of their length, so that they never admit more, and at least 98 %.
MAX_EXACT_LIMIT: Final = 128
WINDOW_GRAINS: Final = 64


@dataclass(frozen=True, slots=True)
class QuotaWindow:
    """At most `limit` in any `seconds`; a bucket refills one by one. Zero seconds: `limit` at the same time."""

    limit: int
    seconds: int
    is_bucket: bool = False

    @property
    def grain_seconds(self) -> float:
        """The precision of the times that a window keeps; 0 for a bucket, which keeps none."""
        if self.is_bucket:
            return 0
        return 0.001 if self.limit <= MAX_EXACT_LIMIT else max(0.001, self.seconds / WINDOW_GRAINS)


@dataclass(frozen=True, slots=True)
class Quota:
    """A named limit. Its setting is `VYRY_LIMIT_` and the name in capitals."""

    name: str
    windows: tuple[QuotaWindow, ...]
    #: While Redis is down nothing is granted (503), because what it protects does not grow back; other quotas are counted by each node alone.
    is_fail_closed: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What the tightest window of a quota has left, and in how many seconds it is full again."""

    limit: int
    remaining: int
    reset_seconds: int
    window: int


#: Per phone number and network: requests from other networks do not count.
OTP_NUMBER: Final = Quota("otp_number", (QuotaWindow(1, 30), QuotaWindow(3, 600), QuotaWindow(10, _DAY)))
#: Per phone number from all networks. It does not apply to a network in which the number was verified lately.
OTP_TOTAL: Final = Quota("otp_total", (QuotaWindow(12, 600), QuotaWindow(30, _DAY)))
OTP_NETWORK: Final = Quota("otp_network", (QuotaWindow(10, 600), QuotaWindow(50, _DAY)))
#: The seconds are the lifetime of a code; only the number can be set.
OTP_GUESSES: Final = Quota("otp_guesses", (QuotaWindow(5, 180),))
#: The seconds are those that a PIN stays locked after so many wrong ones.
PIN_TRIES: Final = Quota("pin_tries", (QuotaWindow(10, _DAY),))
#: Requests that hash a PIN: right or wrong, given or set, and where none is set.
PIN_CHECKS: Final = Quota("pin_checks", (QuotaWindow(60, 1200, is_bucket=True),))
#: Wrong recovery codes for one name from one network, and for all names from it; the seconds are those since the last one that counted.
RECOVERY_TRIES: Final = Quota("recovery_tries", (QuotaWindow(5, 3600),))
RECOVERY_NETWORK: Final = Quota("recovery_network", (QuotaWindow(100, 3600),))
#: Requests to join, per address.
JOIN: Final = Quota("join", (QuotaWindow(300, 3600, is_bucket=True),))
#: People that a member invites to the node: set by VYRY_MEMBER_INVITES alone; the database counts them.
MEMBER_INVITES: Final = Quota("member_invites", (QuotaWindow(0, 30 * _DAY),))
#: Uploads of keys, whichever route takes them: each has up to 103 signatures and 200 rows.
KEYS: Final = Quota("keys", (QuotaWindow(20, 3600, is_bucket=True),))
#: The cost of requests with a token, by the size of their responses: per account, and per device for its mail and its session.
REQUESTS: Final = Quota("requests", (QuotaWindow(6_000, 600, is_bucket=True),))
DEVICE_REQUESTS: Final = Quota("device_requests", (QuotaWindow(1_200, 60, is_bucket=True),))
CLAIM_TARGET: Final = Quota("claim_target", (QuotaWindow(6, 3600, is_bucket=True),), is_fail_closed=True)
#: One-time keys of an account claimed in an hour: by all, by accounts that are not friends, and by accounts without a shared conversation.
CLAIM_ALL: Final = Quota("claim_all", (QuotaWindow(60, 3600),), is_fail_closed=True)
CLAIM_OTHERS: Final = Quota("claim_others", (QuotaWindow(50, 3600),), is_fail_closed=True)
CLAIM_STRANGERS: Final = Quota("claim_strangers", (QuotaWindow(40, 3600),), is_fail_closed=True)
LINK_SESSIONS: Final = Quota("link_sessions", (QuotaWindow(6, 720, is_bucket=True),), is_fail_closed=True)
POST: Final = Quota("post", (QuotaWindow(60, 60, is_bucket=True),))
POST_BYTES: Final = Quota("post_bytes", (QuotaWindow(128 * _MIB, _DAY, is_bucket=True),))
NEW_CONTACTS: Final = Quota("new_contacts", (QuotaWindow(20, _DAY),))
GROUPS: Final = Quota("groups", (QuotaWindow(50, _DAY),))
#: People added to groups, or invited into them.
GROUP_MEMBERS: Final = Quota("group_members", (QuotaWindow(2_000, _DAY),))
#: Edits of conversations, changes of roles, and joins by an invite: all members get a notice of each.
CONVERSATION_CHANGES: Final = Quota("conversation_changes", (QuotaWindow(120, 1200, is_bucket=True),))
#: A number that is found costs 1, a miss 5.
LOOKUP: Final = Quota("lookup", (QuotaWindow(1_000, 4_000, is_bucket=True), QuotaWindow(5_000, _DAY)))
SEARCH: Final = Quota("search", (QuotaWindow(60, 60),))
#: Usernames that an account gave up and that are reserved for it (vyry/accounts/usernames.py); the database counts them.
USERNAMES: Final = Quota("usernames", (QuotaWindow(3, 0),))
UPLOAD: Final = Quota("upload", (QuotaWindow(50, 60, is_bucket=True),))
UPLOAD_BYTES: Final = Quota("upload_bytes", (QuotaWindow(1024 * _MIB, _DAY),))
#: An export reads everything of an account.
EXPORT: Final = Quota("export", (QuotaWindow(5, 3600),))
#: New calls; a repeated offer costs nothing.
CALL: Final = Quota("call", (QuotaWindow(60, 600, is_bucket=True),))
SIGNAL: Final = Quota("signal", (QuotaWindow(20, 1, is_bucket=True),))
FRAMES: Final = Quota("frames", (QuotaWindow(500, 5, is_bucket=True),))
SOCKETS_ACCOUNT: Final = Quota("sockets_account", (QuotaWindow(6, 0),))
SOCKETS_ADDRESS: Final = Quota("sockets_address", (QuotaWindow(50, 0),))

#: Every quota by its name, as in `VYRY_LIMIT_<NAME>` and GET /limits.
QUOTAS: Final[Mapping[str, Quota]] = {
    quota.name: quota
    for quota in (
        OTP_NUMBER,
        OTP_TOTAL,
        OTP_NETWORK,
        OTP_GUESSES,
        PIN_TRIES,
        PIN_CHECKS,
        RECOVERY_TRIES,
        RECOVERY_NETWORK,
        JOIN,
        MEMBER_INVITES,
        KEYS,
        REQUESTS,
        DEVICE_REQUESTS,
        CLAIM_TARGET,
        CLAIM_ALL,
        CLAIM_OTHERS,
        CLAIM_STRANGERS,
        LINK_SESSIONS,
        POST,
        POST_BYTES,
        NEW_CONTACTS,
        GROUPS,
        GROUP_MEMBERS,
        CONVERSATION_CHANGES,
        LOOKUP,
        SEARCH,
        USERNAMES,
        UPLOAD,
        UPLOAD_BYTES,
        EXPORT,
        CALL,
        SIGNAL,
        FRAMES,
        SOCKETS_ACCOUNT,
        SOCKETS_ADDRESS,
    )
}


class Limiter(Protocol):
    """Counts usage per subject, for all nodes together."""

    async def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant:
        """Consume `cost` of the quota for the subject; a refused call consumes nothing.

        Raises RateLimited with the wait after which the same call is granted if nothing else consumes meanwhile; Unavailable for a fail-closed quota
        while its counts cannot be read.
        """
        ...


class ChargingLimiter(Limiter, Protocol):
    """A limiter that also counts usage after the fact."""

    async def charge(self, quota: Quota, subject: str, cost: int) -> Grant:
        """Count `cost`, whatever is left: a debt is granted nothing until the quota has refilled."""
        ...


class QuotaReader(Protocol):
    """Reads what is left and consumes nothing."""

    async def peek(self, asked: Sequence[tuple[Quota, str]]) -> list[tuple[Grant, ...]]:
        """What each window has left, for each of these quotas and subjects."""
        ...


class Unlimited:
    """Grants everything (VYRY_LIMITS=off)."""

    async def consume(self, quota: Quota, subject: str, cost: int = 1) -> Grant:  # noqa: ARG002 - the protocol's signature
        """Grant and count nothing."""
        return unused_grant(quota)

    async def charge(self, quota: Quota, subject: str, cost: int) -> Grant:  # noqa: ARG002 - the protocol's signature
        """Count nothing."""
        return unused_grant(quota)

    async def peek(self, asked: Sequence[tuple[Quota, str]]) -> list[tuple[Grant, ...]]:
        """Everything is left."""
        return [unused_grants(quota) for quota, _ in asked]


@cache
def unused_grant(quota: Quota) -> Grant:
    """The grant of a subject without usage."""
    return min(unused_grants(quota), key=lambda grant: grant.limit)


def unused_grants(quota: Quota) -> tuple[Grant, ...]:
    """The grant of each window for a subject without usage."""
    return tuple(Grant(each.limit, each.limit, 0, each.seconds) for each in quota.windows)


def rate_limit_error(quota: Quota, number: int, wait_seconds: float) -> RateLimited:
    """The error for one window of a quota; it names the limit, for the headers of the response."""
    window = quota.windows[number]
    return RateLimited(math.ceil(wait_seconds), policy=LimitPolicy(quota.name, window.limit, window.seconds))


def exhausted_grants(refused: RateLimited) -> list[tuple[str, Grant]]:
    """The grant of a limit that refused: nothing is left until its wait has passed. Empty for an error that names no limit."""
    if refused.policy is None:
        return []
    name, limit, seconds = refused.policy.name, refused.policy.limit, refused.policy.window_seconds
    return [(name, Grant(limit, 0, int(str(refused.members["retry_after_seconds"])), seconds))]


def apply_overrides(rates: Mapping[str, tuple[int, timedelta]]) -> dict[str, Quota]:
    """All quotas with the rates of the settings: a rate replaces all windows of its quota by one. Raises ValueError for an unknown name."""
    unknown = rates.keys() - QUOTAS.keys()
    if unknown:
        raise ValueError(f"no such limit: {', '.join(sorted(unknown))} (there are {', '.join(QUOTAS)})")
    quotas = dict(QUOTAS)
    for name, (limit, period) in rates.items():
        first = QUOTAS[name].windows[0]
        # A limit at the same time has no seconds, whatever the setting says.
        window = QuotaWindow(limit, int(period.total_seconds()) if first.seconds else 0, is_bucket=first.is_bucket)
        quotas[name] = replace(QUOTAS[name], windows=(window,))
    return quotas


@lru_cache(maxsize=4096)
def network_key(address: str) -> str:
    """The subject of a limit per address: the IPv4 address, or the /64 of an IPv6 address, which one party has."""
    found = ip_address(address.partition("%")[0])
    return str(found) if found.version == 4 else str(ip_network((found, 64), strict=False))


def network_prefix(address: str) -> str:
    """The /24 (IPv4) or /64 (IPv6) of an address: the network that one-time codes are counted by, and that a link shows."""
    found = ip_address(address.partition("%")[0])
    return str(ip_network((found, 24 if found.version == 4 else 64), strict=False))
