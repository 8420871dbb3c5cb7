"""Times as whole milliseconds since 1970, as the wire, the hash chain and SQLite count them."""

import time
from datetime import UTC, datetime


def now_milliseconds() -> int:
    """The reading of the machine's wall clock. Code of the node asks a `Clock` (vyry/clock.py), which tests pin."""
    return time.time_ns() // 1_000_000


def to_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def from_milliseconds(count: int) -> datetime:
    """The moment `count` milliseconds after 1970, in UTC."""
    return datetime.fromtimestamp(count / 1000, UTC)


def format_moment(moment: datetime) -> str:
    """A moment for people, to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def to_optional_text(moment: datetime | None) -> str | None:
    """A moment for JSON, in ISO format."""
    return None if moment is None else moment.isoformat()
