"""Errors that end a command, with the line that the user reads."""


class CommandError(Exception):
    """A command failed: the text is one line that says what to do, `code` is the exit code."""

    code: int = 1


class UsageError(CommandError):
    """The command line or the standard input is not valid; nothing was done."""

    code = 2


class RefusedByState(CommandError):
    """The state of the node does not allow it; nothing was changed."""

    code = 3


def flatten_exceptions(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions of a group and of the groups in it."""
    inside = [flatten_exceptions(each) if isinstance(each, BaseExceptionGroup) else [each] for each in group.exceptions]
    return [problem for found in inside for problem in found]
