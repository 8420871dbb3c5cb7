"""How a command ends: a number for each kind of refusal, so that a script can tell them apart without reading English."""

from enum import IntEnum
from typing import Final

from vyry.cli.refusals import CannotServe
from vyry.client.refusals import (
    ChainBroken,
    ClientError,
    LinkEnded,
    NotRegistered,
    Refused,
    SessionEnded,
    StoreFull,
    StoreLocked,
    Unreachable,
)
from vyry.signal_protocol.refusals import IdentityChanged, Refusal


class Exit(IntEnum):
    """The exit codes of `vyry client`; docs/cli.md says the same."""

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


#: What a command may end with: everything else is a fault of ours, and shows where.
FAILURES: Final = (ClientError, Refusal)


class Ended(CannotServe):
    """A command of `vyry client` gave up."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code


def ended(problem: BaseException) -> Ended:
    """What a failure means for whoever called."""
    return problem if isinstance(problem, Ended) else Ended(_kind(problem), str(problem))


def _kind(problem: BaseException) -> Exit:
    if isinstance(problem, Refused):
        return {404: Exit.NOT_FOUND, 429: Exit.TOO_MUCH}.get(problem.status, Exit.REFUSED)
    return next((code for kind, code in _KINDS.items() if isinstance(problem, kind)), Exit.FAILED)


_KINDS: Final[dict[type[BaseException], Exit]] = {
    NotRegistered: Exit.NO_ACCOUNT,
    SessionEnded: Exit.NO_ACCOUNT,
    LinkEnded: Exit.REFUSED,
    Unreachable: Exit.NODE_AWAY,
    StoreLocked: Exit.STORE_LOCKED,
    StoreFull: Exit.STORE_FULL,
    ChainBroken: Exit.UNSAFE,
    IdentityChanged: Exit.UNSAFE,
}
