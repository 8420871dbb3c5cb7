"""What the node has spent on one-time codes: counts of the last hour and day, from the tables that the limits use. A country is not stored, so nothing is counted by country."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from vyry.accounts.otp_limits import DAY, HOUR
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_optional_datetime


#: A code that was certainly not sent has no area.
_SENT: Final = """
    SELECT COALESCE(SUM(CASE WHEN area <> '' THEN 1 ELSE 0 END), 0) AS sent, COALESCE(SUM(CASE WHEN is_verified THEN 1 ELSE 0 END), 0) AS verified,
        COALESCE(SUM(CASE WHEN area = '' THEN 1 ELSE 0 END), 0) AS failed, COALESCE(SUM(cost), 0) AS cost, COUNT(DISTINCT phone_hash) AS numbers
    FROM otp_sent WHERE at > $1"""
_OPEN: Final = "SELECT COUNT(*) AS codes FROM otp_challenge WHERE expires_at > $1 AND NOT is_used AND guesses_left > 0"
_PAUSED: Final = "SELECT COUNT(*) AS areas, MIN(until) AS until FROM otp_breaker WHERE until > $1"


@dataclass(frozen=True, slots=True)
class CodeCounts:
    """The codes of a span of time. `failed` were certainly not sent; `cost` is in millionths of the operator's currency."""

    sent: int
    verified: int
    failed: int
    numbers: int
    cost: int


@dataclass(frozen=True, slots=True)
class CodeStatus:
    """The one-time codes of this installation."""

    last_hour: CodeCounts
    last_day: CodeCounts
    #: Codes that can still be entered.
    open_codes: int
    #: Areas of numbers that get no codes for a while, because too few were verified; and when the first gets codes again.
    paused_areas: int
    paused_until: datetime | None


async def load_code_status(now: datetime) -> CodeStatus:
    """The counts at this moment. Raises Unavailable."""
    async with database_guard():
        hour, day = [(await fetch(connection(), _SENT, now - span))[0] for span in (HOUR, DAY)]
        (waiting,) = await fetch(connection(), _OPEN, now)
        (paused,) = await fetch(connection(), _PAUSED, now)
    until = to_optional_datetime(paused["until"])
    return CodeStatus(_counts(hour), _counts(day), waiting["codes"], paused["areas"], until)


def _counts(row: dict[str, Any]) -> CodeCounts:
    return CodeCounts(*(int(row[name]) for name in ("sent", "verified", "failed", "numbers", "cost")))
