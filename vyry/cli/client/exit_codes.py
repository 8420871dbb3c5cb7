"""The exit codes of `vyry client`: one for each kind of error, for scripts."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from vyry.client.errors import (
    BadNumber,
    ChainBroken,
    ClientError,
    InClear,
    LinkEnded,
    NameChanged,
    NobodyFound,
    NotCompared,
    NotRegistered,
    Refused,
    SessionEnded,
    StoreFull,
    StoreLocked,
    Unreachable,
)
from vyry.client.history.errors import ArchiveRefused, ImportPending
from vyry.errors import CommandError
from vyry.signal_protocol.refusals import Refusal


class Exit(IntEnum):
    """The exit codes of `vyry client`, as in docs/cli.md."""

    DONE = 0
    FAILED = 1
    WRONG_LINE = 2
    NO_ACCOUNT = 3
    REFUSED = 4
    NODE_AWAY = 5
    STORE_LOCKED = 6
    NOT_FOUND = 7
    TOO_MUCH = 8
    STORE_FULL = 9
    UNSAFE = 10
    DECIDE = 11
    KEPT = 12


#: Expected errors of a command; any other exception is a bug and prints a traceback.
FAILURES: Final = (ClientError, Refusal)
#: Errors of the protocol (docs/signal-protocol.md, "Refusals") that require a decision of the user.
DECISIONS: Final = frozenset({"IdentityChanged", "IdentityForged", "ConversationForged"})


class CommandFailed(CommandError):
    """A command of `vyry client` failed. `decision`: JSON fields about a required decision or a kept message."""

    def __init__(self, code: Exit, text: str, decision: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.details: Final = {**decision, "error": text} if decision else {}


def to_command_failure(problem: BaseException) -> CommandFailed:
    """The exit code, text and JSON of an error."""
    return (
        problem
        if isinstance(problem, CommandFailed)
        else CommandFailed(_exit_code(problem), str(problem), _decision_for_error(problem))
    )


def decision_for_reason(reason: str) -> Mapping[str, Any]:
    """The JSON of the decision that an error of this name requires; empty when it requires none."""
    return {"decide": f"{reason[0].lower()}{reason[1:]}"} if reason in DECISIONS else {}


def _decision_for_error(problem: BaseException) -> Mapping[str, Any]:
    match problem:
        case NameChanged():
            accounts = {"userId": str(problem.held), "newUserId": str(problem.told)}
            return {"decide": "nameChanged", "name": problem.name, **accounts}
        case NotCompared():
            return {"decide": "notCompared"}
        case _:
            return decision_for_reason(type(problem).__name__)


def _exit_code(problem: BaseException) -> Exit:
    if isinstance(problem, Refused):
        return {404: Exit.NOT_FOUND, 429: Exit.TOO_MUCH}.get(problem.status, Exit.REFUSED)
    if isinstance(problem, Refusal) and problem.name in DECISIONS:
        return Exit.DECIDE
    return next((code for kind, code in _EXIT_CODE_BY_ERROR.items() if isinstance(problem, kind)), Exit.FAILED)


_EXIT_CODE_BY_ERROR: Final[dict[type[BaseException], Exit]] = {
    NotRegistered: Exit.NO_ACCOUNT,
    SessionEnded: Exit.NO_ACCOUNT,
    LinkEnded: Exit.REFUSED,
    Unreachable: Exit.NODE_AWAY,
    StoreLocked: Exit.STORE_LOCKED,
    StoreFull: Exit.STORE_FULL,
    ChainBroken: Exit.UNSAFE,
    NameChanged: Exit.DECIDE,
    NotCompared: Exit.DECIDE,
    NobodyFound: Exit.NOT_FOUND,
    ArchiveRefused: Exit.REFUSED,
    ImportPending: Exit.REFUSED,
    BadNumber: Exit.WRONG_LINE,
    InClear: Exit.WRONG_LINE,
}
