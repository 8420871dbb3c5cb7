"""What operators see of the pushes of a device: its push service, the planned wake-up, and what the service said last."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from vyry.devices.push import PushKind, PushTarget
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_datetime, to_optional_datetime


_TARGET: Final = "SELECT kind, endpoint, p256dh, auth, token, topic FROM push_target WHERE device = $1"
_WAKE: Final = (
    "SELECT due_at, is_urgent, is_ring, wakes, attempts, rest_until, sent_at FROM push_wake WHERE device = $1"
)
_REPORT: Final = "SELECT kind, result, status, at FROM push_report WHERE device = $1"


@dataclass(frozen=True, slots=True)
class PushReport:
    """The last answer of a push service about the device: `result` is a PushResult, `status` the HTTP status, 0 without an answer."""

    kind: str
    result: str
    status: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PushDetails:
    """The pushes of one device."""

    #: The push service; None: the device gets no push.
    kind: str | None
    #: When the planned wake-up is due; None: none is planned.
    due_at: datetime | None = None
    is_urgent: bool = False
    is_for_call: bool = False
    #: How often the device was woken since it last acknowledged, and how often the present wake-up was tried.
    wakes: int = 0
    attempts: int = 0
    #: New mail does not wake the device before.
    rests_until: datetime | None = None
    sent_at: datetime | None = None
    report: PushReport | None = None


async def load_push_details(device: UUID) -> PushDetails:
    """The pushes of this device. Raises Unavailable."""
    async with database_guard():
        targets = await fetch(connection(), _TARGET, device)
        wakes = await fetch(connection(), _WAKE, device)
        reports = await fetch(connection(), _REPORT, device)
    kind = targets[0]["kind"] if targets else None
    report = _report(reports[0]) if reports else None
    if not wakes:
        return PushDetails(kind=kind, report=report)
    row = wakes[0]
    return PushDetails(
        kind=kind,
        due_at=to_optional_datetime(row["due_at"]),
        is_urgent=bool(row["is_urgent"]),
        is_for_call=bool(row["is_ring"]),
        wakes=row["wakes"],
        attempts=row["attempts"],
        rests_until=to_optional_datetime(row["rest_until"]),
        sent_at=to_optional_datetime(row["sent_at"]),
        report=report,
    )


async def load_push_target(device: UUID) -> PushTarget | None:
    """The push target of this device. Raises Unavailable."""
    async with database_guard():
        rows = await fetch(connection(), _TARGET, device)
    if not rows:
        return None
    row = rows[0]
    return PushTarget(PushKind(row["kind"]), row["endpoint"], row["p256dh"], row["auth"], row["token"], row["topic"])


def _report(row: dict[str, Any]) -> PushReport:
    return PushReport(row["kind"], row["result"], row["status"], to_datetime(row["at"]))
