"""Errors that end a command, with the line that the user reads."""

from vyry.errors import CommandError


class UsageError(CommandError):
    """The command line or the standard input is not valid; nothing was done."""

    code = 2


def flatten_exceptions(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions of a group and of the groups in it."""
    inside = [flatten_exceptions(each) if isinstance(each, BaseExceptionGroup) else [each] for each in group.exceptions]
    return [problem for found in inside for problem in found]
