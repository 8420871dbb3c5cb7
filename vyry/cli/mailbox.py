"""`vyry mailbox`: explain the mailbox of a device, drop entries of it, and release what waits in it. No content is ever read."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from cyclopts import App

from vyry.cli.account_lookup import find_named_device
from vyry.cli.command_line import Flag, FreeText, JsonFlag
from vyry.cli.errors import UsageError
from vyry.cli.mailbox_text import format_mailbox, mailbox_json
from vyry.cli.operator import run_in_database
from vyry.cli.prompts import confirm_operation
from vyry.cli.user import ConfirmedOperator
from vyry.clock import CheckedClock, SystemClock
from vyry.clock_monitor import ClockMonitor
from vyry.errors import CommandError, NotFound, OperationRefused
from vyry.mail.store import DropRequest, DropResult, MailStore
from vyry.operator.mailbox_reasons import explain_mailbox
from vyry.operator.mailboxes import MailboxDetails, load_mailbox, release_waiting
from vyry.operator.socket_lookup import Socket, find_socket
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import is_postgres, sqlite_path
from vyry.storage.mail_postgres.store import open_postgres_mail
from vyry.storage.mail_sqlite.store import open_sqlite_mail


_RANGE: Final = re.compile(r"(?P<first>[1-9]\d{0,15})(?:-(?P<last>[1-9]\d{0,15}))?")

app = App(name="mailbox")


@app.command
def explain(device: FreeText, *, ids: Flag = False, as_json: JsonFlag = False) -> int:
    """Show what waits in the mailbox of a device, where its socket is, and why nothing comes.

    The ids of account and mailbox are shown as pseudonyms: a short hash that is the same each time. No content, sender or conversation is shown.

    Args:
        device: The device: ACCOUNT/NUMBER (user id, username or phone number, and the device number), or a mailbox id.
        ids: Show the ids themselves.
        as_json: Print one JSON object.
    """
    settings = load_settings(Role.TOOL)

    async def work() -> tuple[MailboxDetails, Socket]:
        box = await _load(device, settings)
        redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
        return box, await find_socket(redis_url, box.device.mailbox)

    box, socket = run_in_database(settings, work)
    now = SystemClock().now()
    reasons = explain_mailbox(box, socket, now)
    if as_json:
        print(json.dumps(mailbox_json(box, socket, reasons, with_ids=ids), indent=2))
    else:
        print(format_mailbox(box, socket, reasons, now=now, with_ids=ids))
    return 0


async def explain_device(device: str, settings: Settings) -> str:
    """What `explain` prints, without ids; the database is open. Raises CommandError, Unavailable."""
    box = await _load(device, settings)
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    socket, now = await find_socket(redis_url, box.device.mailbox), SystemClock().now()
    return format_mailbox(box, socket, explain_mailbox(box, socket, now), now=now, with_ids=False)


@app.command
def drop(device: FreeText, *, seq: str, notices: Flag = False, by: ConfirmedOperator) -> int:
    """Drop entries of a mailbox: the device gets a numbered loss of the reason `operator`, and the senders see `dropped`.

    Nothing brings the content back. The hash chain of the mailbox stays valid. An entry that the device already has on its socket reaches it all the same.

    Args:
        device: The device: ACCOUNT/NUMBER, or a mailbox id.
        seq: The sequence numbers: one, or the first and the last (12-40).
        notices: Drop notices of the node too. They include warnings about the security of the account; without this option a range with a notice is refused.
        by: The operator and the reason.
    """
    first, last = _parse_range(seq)
    settings = load_settings(Role.TOOL)
    box = run_in_database(settings, lambda: _load(device, settings))
    if not box.acknowledged_seq < last or first > box.last_seq:
        raise OperationRefused(_outside_text(box, first, last))
    waiting = box.numbered.entries if box.numbered else 0
    if not confirm_operation(
        f"This would drop the entries {first} to {last} for good ({waiting} envelopes wait in this mailbox)", yes=by.yes
    ):
        return 1
    request = DropRequest(box.device.mailbox, first, last, notices)
    act = by.audit_entry("mailboxDrop", box.device.account_id, f"device {box.device.number}, entries {first}-{last}")

    async def work() -> DropResult:
        async with _open_mail(settings) as store:
            return await store.upkeep.drop(request, act)

    result = run_in_database(settings, work)
    if result.refused_notices:
        raise OperationRefused(
            f"The range has {result.refused_notices} notices of the node, which may warn the owner of an attack: choose another range, or add --notices. Nothing was dropped."
        )
    text = (
        f"{result.dropped} entries dropped"
        if result.dropped
        else "nothing to drop: only losses or acknowledged entries"
    )
    print(json.dumps({"dropped": result.dropped}) if by.as_json else f"{text}.")
    return 0


@app.command
def unpark(device: FreeText, *, by: ConfirmedOperator) -> int:
    """Make due now what waits in a mailbox for a time or for capacity: deferred notices, and the wake-up of a device with mail.

    An entry that the device itself discarded (a loss of the reason `parked`) has no content any more and cannot be brought back.

    Args:
        device: The device: ACCOUNT/NUMBER, or a mailbox id.
        by: The operator and the reason.
    """
    settings = load_settings(Role.TOOL)
    found = run_in_database(settings, lambda: find_named_device(device, settings))
    if found.ended_at is not None:
        raise OperationRefused("The device has ended: nothing waits for it.")
    if not confirm_operation("This would post its deferred notices and wake the device now", yes=by.yes):
        return 1
    act = by.audit_entry("mailboxUnpark", found.account_id, f"device {found.number}")
    notices, is_woken = run_in_database(settings, lambda: release_waiting(found, act))
    if by.as_json:
        print(json.dumps({"notices": notices, "wakeUp": is_woken}))
    else:
        print(f"{notices} deferred notices and {int(is_woken)} wake-ups are due now.")
    return 0


async def _load(name: str, settings: Settings) -> MailboxDetails:
    try:
        return await load_mailbox(await find_named_device(name, settings))
    except NotFound:
        raise CommandError("The device has ended, and its mailbox is deleted.") from None


@asynccontextmanager
async def _open_mail(settings: Settings) -> AsyncIterator[MailStore]:
    """The mail store of this database, by a clock that was compared with the other nodes."""
    url, clock = settings.database_url.get_secret_value(), CheckedClock()
    await ClockMonitor(clock, TortoiseClock()).check()
    async with (
        open_postgres_mail(url, clock) if is_postgres(url) else open_sqlite_mail(Path(sqlite_path(url)), clock)
    ) as store:
        yield store


def _parse_range(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    first, last = (int(found["first"]), int(found["last"] or found["first"])) if found else (1, 0)
    if last < first:
        raise UsageError(
            f"--seq {text!a} is no range of sequence numbers: give one number, or FIRST-LAST such as 12-40."
        )
    return first, last


def _outside_text(box: MailboxDetails, first: int, last: int) -> str:
    if box.last_seq == box.acknowledged_seq:
        return "The mailbox is empty: the device has acknowledged everything."
    return f"No entry between {first} and {last} waits: the mailbox has {box.acknowledged_seq + 1} to {box.last_seq}."
