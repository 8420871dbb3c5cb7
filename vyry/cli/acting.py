"""Who acts as operator, and why: what every command that changes something writes into the log that nobody can change."""

import asyncio
import os
import pwd
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from cyclopts import Parameter

from vyry.accounts.acts import OperatorAct
from vyry.adapters.database import open_database, transaction
from vyry.adapters.operator_acts import note_act
from vyry.cli.running import refuse_unmigrated
from vyry.cli.typed import Words
from vyry.clock import SystemClock
from vyry.settings import Settings


T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who does it, and why.

    Args:
        operator: Who stands in the log; the user of this system unless given.
        reason: Why; stands in the log.
    """

    operator: Words = ""
    reason: Words = ""

    def act(self, name: str, subject: UUID | None = None, about: str = "") -> OperatorAct:
        """The line for the log: what there is to say `about` the act, then the reason."""
        said = ": ".join(filter(None, (about, self.reason)))
        return OperatorAct(SystemClock().now(), self.operator or system_user(), name, said, subject)


#: Whoever runs the command, without a word why.
SOMEBODY: Final = By()


def system_user() -> str:
    """The user that runs this process, by the system's word and not by the environment's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def note(url: str, act: OperatorAct) -> None:
    """Write a line into the log of a database that nobody here has open."""
    asyncio.run(write(url, act))


async def write(url: str, act: OperatorAct) -> None:
    """The same in a coroutine."""
    async with open_database(url), transaction() as inside:
        await note_act(inside, act)


def in_database(settings: Settings, work: Callable[[], Coroutine[None, None, T]]) -> T:
    """What `work` answers, done while the database is open. Raises CannotServe on one that lacks a migration, Unavailable."""

    async def opened() -> T:
        async with open_database(settings.database_url.get_secret_value()):
            return await work()

    refuse_unmigrated(settings)
    return asyncio.run(opened())
