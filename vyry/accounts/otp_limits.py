"""Whether one more code may be sent: the paces of numbers and networks, of prefixes of numbers, and what a day may cost.

A number is counted for each network that asks, so that nobody elsewhere can use up what its owner gets, and once more for all networks together, so that
nobody is flooded. Where a code of this number was verified lately (its owner is there), the counts that others can fill do not hold: those of the number
from all networks, of its prefix and of its area.

`decide` is pure: a store hands it what was sent before, read under the locks of everything that is counted, and does what it says in the same transaction.
A code that was not sent counts for the pace of its number and network alone. A code that was verified no longer counts for its prefix: real people never
use it up, whoever pumps messages to numbers of his own always does.
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
#: How long a code lives; until then nobody knows whether it will be verified.
CODE_LIFETIME: Final = timedelta(seconds=180)
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
#: How long a network is remembered from which a number was proven.
PROVEN_AGE: Final = timedelta(days=180)
#: Of an area as many codes in an hour, of which less than one in five was verified, pause it for an hour.
BREAKER_CODES: Final = 50
BREAKER_SHARE: Final = 5
#: Of a prefix, not counting the codes that were verified.
PER_PREFIX: Final = QuotaWindow(20, 3600)
_PREFIX_DIGITS: Final = 7
_AREA_DIGITS: Final = 6
_PACE: Final = QuotaWindow(1, round(RESEND_AFTER.total_seconds()))


class OtpLimitKind(Enum):
    """Why a code is not sent."""

    NUMBER = "number"
    TOTAL = "total"
    NETWORK = "network"
    PREFIX = "prefix"
    AREA = "area"
    SPEND = "spend"


@dataclass(frozen=True, slots=True)
class OtpCounterKeys:
    """What a code is counted by, as keyed hashes in hex, and its price in millionths."""

    number: str
    network: str
    #: The first seven digits of the number, and the first six.
    prefix: str
    area: str
    cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OtpLimits:
    """What holds for all codes of this node. A limit that is None or has no windows does not hold."""

    #: Of a number from one network, and from all.
    number: tuple[QuotaWindow, ...] = OTP_NUMBER.windows
    total: tuple[QuotaWindow, ...] = OTP_TOTAL.windows
    network: tuple[QuotaWindow, ...] = OTP_NETWORK.windows
    prefix: QuotaWindow | None = PER_PREFIX
    has_breaker: bool = True
    #: What all codes of any 24 hours may cost, in millionths.
    daily_cap: int | None = None

    @property
    def number_windows(self) -> tuple[QuotaWindow, ...]:
        """The windows of a number and network: whatever else is set, no code is sent sooner than resendAfterSeconds after the last one."""
        return (_PACE, *self.number) if self.number else ()


#: VYRY_LIMITS=off: no rate holds. What money may be spent is no rate.
UNLIMITED: Final = OtpLimits(number=(), total=(), network=(), prefix=None, has_breaker=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtpHistory:
    """What was sent before. Moments are newest first."""

    #: To the number from this network, to the number from all, and from this network to all numbers.
    number: Sequence[datetime] = ()
    total: Sequence[datetime] = ()
    network: Sequence[datetime] = ()
    #: A code of this number, asked for from this network, was verified lately.
    is_proven: bool = False
    #: Of the last hour, without those verified.
    prefix: Sequence[datetime] = ()
    #: Of the last hour: those whose fate is known, and those of them that were verified.
    area_known: int = 0
    area_verified: int = 0
    area_paused_until: datetime | None = None
    #: In the last 24 hours.
    spent: int = 0
    #: When enough of it is older than that to pay for one more code; None if it never will be.
    affordable_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OtpRefusal:
    """No code is sent before `retry_at`. `is_trip`: the area is to be paused until then."""

    limit: OtpLimitKind
    retry_at: datetime
    window: QuotaWindow | None = None
    trips_breaker: bool = False


@dataclass(frozen=True, slots=True)
class OtpAdmission:
    """A code may be sent; what its number and its network have left then."""

    number: Grant | None
    network: Grant | None


@dataclass(frozen=True, slots=True)
class Tariff:
    """To which countries (ISO 3166, two letters; none: all) codes are sent, and what one costs in millionths of the operator's currency."""

    countries: frozenset[str] = frozenset()
    price: int = 0
    prices: Mapping[str, int] = field(default_factory=dict)

    def cost_of(self, number: PhoneNumber) -> int:
        """What a code to this number costs. Raises InvalidRequest, whether the number is known or not, if its country gets none."""
        country = region_code_for_number(parse(number.e164)) or ""
        if self.countries and country not in self.countries:
            raise InvalidRequest(fields=[{"field": "phoneNumber", "problem": "no codes are sent to this country"}])
        return self.prices.get(country, self.price)


def prefix_and_area(number: PhoneNumber) -> tuple[str, str]:
    """The leading digits that numbers are counted by: seven for the pace, six for the breaker. They begin with the country's code."""
    digits = number.e164[1:]
    return digits[:_PREFIX_DIGITS], digits[:_AREA_DIGITS]


def decide(rules: OtpLimits, subjects: OtpCounterKeys, sent: OtpHistory, now: datetime) -> OtpAdmission | OtpRefusal:
    """May a code be sent now? A refusal is the one that lasts longest: by its moment the same code is sent, if no other is meanwhile."""
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
    """What each window has left after as many more."""
    return tuple(_left(window, [at for at in moments if at > now - _length(window)], now, taking) for window in windows)


def _left(window: QuotaWindow, recent: Sequence[datetime], now: datetime, taking: int) -> Grant:
    newest = now if taking else next(iter(recent), now - _length(window))
    reset = -(-(newest + _length(window) - now) // timedelta(seconds=1))
    return Grant(window.limit, max(0, window.limit - len(recent) - taking), reset, window.seconds)


def _tightest(grants: Sequence[Grant]) -> Grant | None:
    return min(grants, key=lambda grant: grant.remaining, default=None)


def _per_network_refusals(rules: OtpLimits, sent: OtpHistory, now: datetime) -> Iterator[OtpRefusal]:
    """What nobody in another network can fill."""
    yield from _full(OtpLimitKind.NUMBER, rules.number_windows, sent.number, now)
    yield from _full(OtpLimitKind.NETWORK, rules.network, sent.network, now)


def _shared_refusals(rules: OtpLimits, sent: OtpHistory, now: datetime) -> Iterator[OtpRefusal]:
    """What anybody can fill."""
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
