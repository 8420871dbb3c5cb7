"""The pushes of a device as lines and as JSON."""

from collections.abc import Iterator
from typing import Any

from vyry.kernel.time import format_moment, to_optional_text
from vyry.operator.push_details import PushDetails


def push_lines(push: PushDetails) -> Iterator[tuple[str, str]]:
    """The facts for people, as names and texts."""
    yield (
        "push service",
        push.kind or "none: the device registered no push target, or its push service no longer knows it",
    )
    if push.sent_at is not None:
        yield "last wake-up", f"{format_moment(push.sent_at)}, {push.wakes} since the last acknowledgement"
    if push.due_at is not None:
        call = " for a call" if push.is_for_call else ""
        yield "planned wake-up", f"{format_moment(push.due_at)}{call}, tried {push.attempts} times"
    if push.rests_until is not None:
        yield "not woken before", format_moment(push.rests_until)
    if (report := push.report) is not None:
        status = f"status {report.status}" if report.status else "no response"
        yield "push service said", f"{report.result} ({status}) at {format_moment(report.at)}, {report.kind}"


def push_json(push: PushDetails) -> dict[str, Any]:
    """The same facts for programs."""
    report = push.report
    return {
        "kind": push.kind,
        "dueAt": to_optional_text(push.due_at),
        "isForCall": push.is_for_call,
        "isUrgent": push.is_urgent,
        "wakes": push.wakes,
        "attempts": push.attempts,
        "restsUntil": to_optional_text(push.rests_until),
        "sentAt": to_optional_text(push.sent_at),
        "report": report
        and {"kind": report.kind, "result": report.result, "status": report.status, "at": to_optional_text(report.at)},
    }
