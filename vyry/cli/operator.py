"""Who acts as operator, and why: what every command that changes something writes into the log that nobody can change."""

import asyncio
import os
import pwd
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from cyclopts import Parameter

from vyry.accounts.operator_actions import OperatorAction
from vyry.cli.command_line import FreeText
from vyry.cli.process import require_migrated
from vyry.clock import SystemClock
from vyry.operator.audit import record_action
from vyry.settings import Settings
from vyry.storage.database import open_database, transaction


T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who does it, and why.

    Args:
        operator: Who stands in the log; the user of this system unless given.
        reason: Why; stands in the log.
    """

    operator: FreeText = ""
    reason: FreeText = ""

    def audit_entry(self, name: str, subject: UUID | None = None, details: str = "") -> OperatorAction:
        """The line for the log: what there is to say `about` the act, then the reason."""
        said = ": ".join(filter(None, (details, self.reason)))
        return OperatorAction(SystemClock().now(), self.operator or current_user_name(), name, said, subject)


#: Whoever runs the command, without a word why.
CURRENT_OPERATOR: Final = Operator()


def current_user_name() -> str:
    """The user that runs this process, by the system's word and not by the environment's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def write_audit_entry(url: str, act: OperatorAction) -> None:
    """Write a line into the log of a database that nobody here has open."""
    asyncio.run(write_audit_entry_async(url, act))


async def write_audit_entry_async(url: str, act: OperatorAction) -> None:
    """The same in a coroutine."""
    async with open_database(url), transaction() as inside:
        await record_action(inside, act)


def run_in_database(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    """What `work` answers, done while the database is open. Raises CannotServe on one that lacks a migration, Unavailable."""

    async def run_opened() -> T:
        async with open_database(settings.database_url.get_secret_value()):
            return await work()

    require_migrated(settings)
    return asyncio.run(run_opened())
