"""`vyry announce`: a notice of the operator to all mailboxes, paced. It may be interrupted at any moment, and is continued where it was."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Final

from cyclopts import Parameter

from vyry.cli.command_line import Flag, FreeText
from vyry.cli.errors import UsageError
from vyry.cli.operator import CURRENT_OPERATOR, Operator, run_in_database
from vyry.cli.prompts import confirm_operation
from vyry.clock import SystemClock
from vyry.errors import CommandError, OperationRefused
from vyry.operator.announcements import (
    Announcement,
    begin_announcement,
    check_text,
    count_mailboxes,
    count_pending,
    end_announcement,
    find_unfinished,
    hand_over,
)
from vyry.settings.settings import Role, Settings, load_settings


MAX_PER_SECOND: Final = 1_000
#: Workers post so many deferred notices at least every half second.
_PACE: Final = 100
#: No worker has posted anything for so long: none runs.
_STALLED_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.25


def announce(
    text: FreeText = "",
    *,
    language: FreeText | None = None,
    per_second: Annotated[int, Parameter(show_default=True)] = _PACE,
    resume: Flag = False,
    end: Flag = False,
    dry_run: Flag = False,
    yes: Flag = False,
    by: Operator = CURRENT_OPERATOR,
) -> int:
    """Send a text to all devices, as a message of the operator. It is not encrypted.

    The text has at most 1,000 characters. Devices that are linked later do not get it. Workers deliver it; a full mailbox gets it once it has capacity.
    After an interruption run `vyry announce --resume`: no device gets it twice, and none is left out.

    Args:
        text: The text.
        language: The language of the text as a tag (de, pt-BR), for clients that translate or read aloud.
        per_second: At most so many mailboxes a second (1 to 1,000).
        resume: Continue the unfinished announcement.
        end: End the unfinished announcement: devices that do not have it yet do not get it.
        dry_run: Count the mailboxes and change nothing.
        yes: Skip the confirmation prompt.
        by: The operator and the reason.
    """
    if not 1 <= per_second <= MAX_PER_SECOND:
        raise UsageError(f"--per-second must be 1 to {MAX_PER_SECOND:,}.")
    if bool(text) + resume + end != 1:
        raise UsageError("Give a text, or --resume, or --end.")
    settings = load_settings(Role.TOOL)
    if end:
        return _end(settings, by, yes=yes)
    found = _resumed(settings) if resume else _begin(text, language, settings, by, (dry_run, yes))
    if found is None:
        return 0 if dry_run else 1
    run_in_database(settings, lambda: _hand_over_all(found, per_second))
    return 0


def _begin(
    text: str, language: str | None, settings: Settings, by: Operator, options: tuple[bool, bool]
) -> Announcement | None:
    """The stored announcement; None after a dry run, and where the operator does not confirm."""
    is_dry_run, yes = options
    try:
        cleaned = check_text(text, language)
    except ValueError as problem:
        raise UsageError(f"The text cannot be announced: {problem}") from None
    total = run_in_database(settings, count_mailboxes)
    if is_dry_run:
        print(f"{total} mailboxes would get this text ({len(cleaned)} characters). Nothing was changed.")
        return None
    if not confirm_operation(f"This would send this text to {total} mailboxes: {cleaned!r}", yes=yes):
        return None
    act = by.audit_entry("announce", details=f"{total} mailboxes, {len(cleaned)} characters")
    begun = run_in_database(settings, lambda: begin_announcement(cleaned, language, act))
    if begun is None:
        raise OperationRefused(
            "Another announcement is unfinished: continue it with `vyry announce --resume`, or end it with `vyry announce --end`. Nothing was changed."
        )
    return begun


def _resumed(settings: Settings) -> Announcement:
    found = run_in_database(settings, find_unfinished)
    if found is None:
        raise OperationRefused("No announcement is unfinished.")
    return found


def _end(settings: Settings, by: Operator, *, yes: bool) -> int:
    found = _resumed(settings)
    left = found.total - found.handed_over
    if not confirm_operation(f"This would end the announcement before {left} mailboxes get it", yes=yes):
        return 1
    act = by.audit_entry("announceEnd", details=f"{found.handed_over} of {found.total} mailboxes")
    run_in_database(settings, lambda: end_announcement(found.announcement_id, act))
    print(f"Ended: {found.handed_over} of {found.total} mailboxes get it.")
    return 0


async def _hand_over_all(announcement: Announcement, per_second: int) -> None:
    current: Announcement | None = announcement
    while current is not None and current.finished_at is None:
        await _wait_until_posted(current, per_second)
        began = asyncio.get_running_loop().time()
        current = await hand_over(current.announcement_id, per_second, SystemClock().now())
        if current is not None:
            announcement = current
            _show(current)
        await asyncio.sleep(max(0.0, began + 1 - asyncio.get_running_loop().time()))
    await _wait_until_posted(announcement, 1)
    pending = await count_pending(announcement)
    print(
        f"Announced to {announcement.handed_over} mailboxes. {pending.full} of them are full and get it when they have capacity."
    )


async def _wait_until_posted(announcement: Announcement, fewer_than: int) -> None:
    """Wait until fewer notices than that wait for a worker. Raises CommandError when none of them is posted any more."""
    least, since = None, asyncio.get_running_loop().time()
    async for due in _pending(announcement):
        if due < fewer_than:
            return
        if least is None or due < least:
            least, since = due, asyncio.get_running_loop().time()
        elif asyncio.get_running_loop().time() - since > _STALLED_SECONDS:
            then = "" if announcement.finished_at else ", then run `vyry announce --resume`"
            raise CommandError(
                f"No worker has posted a notice for {_STALLED_SECONDS:.0f} s: start `vyry worker`{then}. Nothing is lost."
            )


async def _pending(announcement: Announcement) -> AsyncIterator[int]:
    """The notices that wait for a worker, again and again."""
    while True:
        yield (await count_pending(announcement)).due
        await asyncio.sleep(_POLL_SECONDS)


def _show(announcement: Announcement) -> None:
    print(f"{announcement.handed_over} of {announcement.total} mailboxes", file=sys.stderr, flush=True)
