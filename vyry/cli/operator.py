"""The operator who runs a command, the audit log that each change is written to, and `vyry audit`, which prints it."""

import asyncio
import json
import os
import pwd
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID

from cyclopts import Parameter

from vyry.accounts.events import OperatorAction
from vyry.accounts.phone import Pepper
from vyry.cli.client.terminal_text import sanitize_line
from vyry.cli.command_line import FreeText, JsonFlag
from vyry.cli.process import require_migrated
from vyry.clock import SystemClock
from vyry.errors import CommandError
from vyry.operator.audit import read_acts, record_action
from vyry.operator.secret_files import read_peppers
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.database import open_database, transaction


T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The operator of a command and the reason, for the audit log.

    Args:
        operator: Operator name for the audit log (default: your system user).
        reason: Reason for the audit log.
    """

    operator: FreeText = ""
    reason: FreeText = ""

    def audit_entry(self, name: str, subject: UUID | None = None, details: str = "") -> OperatorAction:
        """The entry for the audit log, with the details before the reason."""
        explanation = ": ".join(filter(None, (details, self.reason)))
        return OperatorAction(SystemClock().now(), self.operator or current_user_name(), name, explanation, subject)


#: The system user who runs the command; no reason given.
CURRENT_OPERATOR: Final = Operator()


def current_user_name() -> str:
    """The user that runs this process, by its uid: environment variables are not read."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def write_audit_entry(url: str, act: OperatorAction) -> None:
    """Write an entry into the audit log of a database that is not open in this process."""
    asyncio.run(write_audit_entry_async(url, act))


async def write_audit_entry_async(url: str, act: OperatorAction) -> None:
    """As `write_audit_entry`, inside a running event loop."""
    async with open_database(url), transaction() as inside:
        await record_action(inside, act)


def run_in_database(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run `work` with the database open and return its result. Raises CommandError when a migration is missing, Unavailable."""

    async def run_opened() -> T:
        async with open_database(settings.database_url.get_secret_value()):
            return await work()

    require_migrated(settings)
    return asyncio.run(run_opened())


def load_pepper(settings: Settings) -> Pepper | None:
    """The peppers of the node, all of which an account can be found under; None when this machine has no pepper file."""
    if not settings.pepper_file.exists():
        return None
    ring = read_peppers(settings.pepper.get_secret_value())
    return Pepper(ring, max(ring))


def require_pepper(settings: Settings) -> Pepper:
    """The peppers of the node. Raises CommandError when this machine has no pepper file."""
    pepper = load_pepper(settings)
    if pepper is None:
        raise CommandError(
            f"No pepper file at {settings.pepper_file}: run this command on a host that has the nodes' pepper file, or set VYRY_PEPPER_FILE."
        )
    return pepper


def audit(*, since: datetime | None = None, as_json: JsonFlag = False) -> int:
    """Print the audit log of operator actions.

    Oldest first. Entries cannot be changed or deleted.

    Args:
        since: Print only entries from this time on (2026-01-31 or 2026-01-31T12:00:00; UTC unless an offset is given).
        as_json: Print one JSON object per line.
    """
    begin = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since

    async def work() -> None:
        async for act in read_acts(begin):
            subject = str(act.subject) if act.subject else None
            if as_json:
                row = {"at": act.at.isoformat(), "operator": act.operator, "act": act.action, "subject": subject}
                print(json.dumps({**row, "reason": act.reason}))
            else:
                print(
                    f"{act.at:%Y-%m-%d %H:%M:%S}Z  {sanitize_line(act.operator)}  {act.action}  {subject or '-'}  {sanitize_line(act.reason, 500)}"
                )

    run_in_database(load_settings(Role.TOOL), work)
    return 0
