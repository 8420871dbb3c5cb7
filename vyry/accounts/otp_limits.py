"""Whether a one-time code may be sent: rate limits of a number, a network and a number prefix, a circuit breaker, and a daily budget.

A number has one limit for each network, so requests from elsewhere cannot use up the owner's quota, and one for all networks together, against floods.
From a network in which a code of the number was verified lately, the shared limits do not apply: those of the number from all networks, of its prefix
and of its area.

`decide` is a pure function: the store calls it with the history, read under row locks, and applies the decision in the same transaction. A code that
was not sent counts for its number and its network only. A verified code no longer counts for its prefix: SMS pumping (codes sent to an attacker's own
numbers, never verified) fills that limit, real sign-ups do not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from phonenumbers import parse, region_code_for_number

from vyry.accounts.phone import PhoneNumber
from vyry.errors import InvalidRequest
from vyry.limits import OTP_NETWORK, OTP_NUMBER, OTP_TOTAL, Grant, QuotaWindow


RESEND_AFTER: Final = timedelta(seconds=30)
#: How long a code is valid; until then it is open whether it will be verified.
CODE_LIFETIME: Final = timedelta(seconds=180)
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
#: How long a network counts as one in which the number was verified.
PROVEN_AGE: Final = timedelta(days=180)
#: So many codes of an area in an hour, with fewer than one in five verified, pause the area for an hour.
BREAKER_CODES: Final = 50
BREAKER_SHARE: Final = 5
#: The limit of a prefix; verified codes do not count.
PER_PREFIX: Final = QuotaWindow(20, 3600)
_PREFIX_DIGITS: Final = 7
_AREA_DIGITS: Final = 6
_PACE: Final = QuotaWindow(1, round(RESEND_AFTER.total_seconds()))


class OtpLimitKind(Enum):
    """The limit that refused a code."""

    NUMBER = "number"
    TOTAL = "total"
    NETWORK = "network"
    PREFIX = "prefix"
    AREA = "area"
    SPEND = "spend"


@dataclass(frozen=True, slots=True)
class OtpCounterKeys:
    """The keys that a code is counted by, as keyed hashes in hex, and its price in millionths."""

    number: str
    network: str
    #: The first seven digits of the number, and the first six.
    prefix: str
    area: str
    cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OtpLimits:
    """The limits of this node. A limit that is None or has no windows is off."""

    #: To a number, from one network and from all networks.
    number: tuple[QuotaWindow, ...] = OTP_NUMBER.windows
    total: tuple[QuotaWindow, ...] = OTP_TOTAL.windows
    network: tuple[QuotaWindow, ...] = OTP_NETWORK.windows
    prefix: QuotaWindow | None = PER_PREFIX
    has_breaker: bool = True
    #: The budget of any 24 hours, in millionths.
    daily_cap: int | None = None

    @property
    def number_windows(self) -> tuple[QuotaWindow, ...]:
        """The windows of a number and network, with the least time between two codes (`resendAfterSeconds`)."""
        return (_PACE, *self.number) if self.number else ()


#: VYRY_LIMITS=off: no rate limits. The budget stays.
UNLIMITED: Final = OtpLimits(number=(), total=(), network=(), prefix=None, has_breaker=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtpHistory:
    """The codes sent before. Times are newest first."""

    #: To the number from this network, to the number from all, and from this network to all numbers.
    number: Sequence[datetime] = ()
    total: Sequence[datetime] = ()
    network: Sequence[datetime] = ()
    #: A code of this number was verified lately from this network.
    is_proven: bool = False
    #: To the prefix in the last hour, without verified codes.
    prefix: Sequence[datetime] = ()
    #: To the area in the last hour: codes that expired or were verified, and how many of them were verified.
    area_known: int = 0
    area_verified: int = 0
    area_paused_until: datetime | None = None
    #: The cost of the last 24 hours.
    spent: int = 0
    #: When enough of that cost is older than 24 hours to pay for one more code; None: never.
    affordable_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OtpRefusal:
    """No code is sent before `retry_at`. `trips_breaker`: the store has to pause the area until then."""

    limit: OtpLimitKind
    retry_at: datetime
    window: QuotaWindow | None = None
    trips_breaker: bool = False


@dataclass(frozen=True, slots=True)
class OtpAdmission:
    """A code may be sent; the remaining quotas of its number and its network."""

    number: Grant | None
    network: Grant | None


@dataclass(frozen=True, slots=True)
class Tariff:
    """The countries that get codes (ISO 3166, two letters; empty: all), and the price of a code in millionths of the operator's currency."""

    countries: frozenset[str] = frozenset()
    price: int = 0
    prices: Mapping[str, int] = field(default_factory=dict)

    def cost_of(self, number: PhoneNumber) -> int:
        """The price of a code to this number. Raises InvalidRequest if its country gets no codes."""
        country = region_code_for_number(parse(number.e164)) or ""
        if self.countries and country not in self.countries:
            raise InvalidRequest(fields=[{"field": "phoneNumber", "problem": "no codes are sent to this country"}])
        return self.prices.get(country, self.price)


def prefix_and_area(number: PhoneNumber) -> tuple[str, str]:
    """The leading digits, with the country code: seven for the rate limit, six for the circuit breaker."""
    digits = number.e164[1:]
    return digits[:_PREFIX_DIGITS], digits[:_AREA_DIGITS]


def decide(rules: OtpLimits, subjects: OtpCounterKeys, sent: OtpHistory, now: datetime) -> OtpAdmission | OtpRefusal:
    """Decide whether a code may be sent now. Of several refusals the one with the latest `retry_at` is returned: a retry then succeeds."""
    refusals = [*_per_network_refusals(rules, sent, now), *_spend(rules, subjects.cost, sent, now)]
    if not sent.is_proven:
        refusals += [*_shared_refusals(rules, sent, now), *_breaker(rules, sent, now)]
    if refusals:
        return max(refusals, key=lambda refusal: refusal.retry_at)
    return OtpAdmission(
        _tightest(remaining_grants(rules.number_windows, sent.number, now, taking=1)),
        _tightest(remaining_grants(rules.network, sent.network, now, taking=1)),
    )


def remaining_grants(
    windows: Sequence[QuotaWindow], moments: Sequence[datetime], now: datetime, taking: int = 0
) -> tuple[Grant, ...]:
    """The remaining quota of each window after `taking` more codes."""
    return tuple(_left(window, [at for at in moments if at > now - _length(window)], now, taking) for window in windows)


def _left(window: QuotaWindow, recent: Sequence[datetime], now: datetime, taking: int) -> Grant:
    newest = now if taking else next(iter(recent), now - _length(window))
    reset = -(-(newest + _length(window) - now) // timedelta(seconds=1))
    return Grant(window.limit, max(0, window.limit - len(recent) - taking), reset, window.seconds)


def _tightest(grants: Sequence[Grant]) -> Grant | None:
    return min(grants, key=lambda grant: grant.remaining, default=None)


def _per_network_refusals(rules: OtpLimits, sent: OtpHistory, now: datetime) -> Iterator[OtpRefusal]:
    """Limits that requests from other networks cannot use up."""
    yield from _full(OtpLimitKind.NUMBER, rules.number_windows, sent.number, now)
    yield from _full(OtpLimitKind.NETWORK, rules.network, sent.network, now)


def _shared_refusals(rules: OtpLimits, sent: OtpHistory, now: datetime) -> Iterator[OtpRefusal]:
    """Limits that requests from any network can use up."""
    yield from _full(OtpLimitKind.TOTAL, rules.total, sent.total, now)
    yield from _full(OtpLimitKind.PREFIX, (rules.prefix,) if rules.prefix else (), sent.prefix, now)


def _full(
    limit: OtpLimitKind, windows: Sequence[QuotaWindow], moments: Sequence[datetime], now: datetime
) -> Iterator[OtpRefusal]:
    for window in windows:
        recent = [at for at in moments if at > now - _length(window)]
        if len(recent) >= window.limit:
            yield OtpRefusal(limit, recent[window.limit - 1] + _length(window), window)


def _breaker(rules: OtpLimits, sent: OtpHistory, now: datetime) -> Iterator[OtpRefusal]:
    if not rules.has_breaker:
        return
    if sent.area_paused_until is not None and sent.area_paused_until > now:
        yield OtpRefusal(OtpLimitKind.AREA, sent.area_paused_until)
    elif sent.area_known >= BREAKER_CODES and sent.area_verified * BREAKER_SHARE < sent.area_known:
        yield OtpRefusal(OtpLimitKind.AREA, now + HOUR, trips_breaker=True)


def _spend(rules: OtpLimits, cost: int, sent: OtpHistory, now: datetime) -> Iterator[OtpRefusal]:
    if rules.daily_cap is not None and sent.spent + cost > rules.daily_cap:
        yield OtpRefusal(OtpLimitKind.SPEND, sent.affordable_at or now + DAY)


def _length(window: QuotaWindow) -> timedelta:
    return timedelta(seconds=window.seconds)
