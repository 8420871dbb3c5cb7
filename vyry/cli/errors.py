"""Why a command does not even begin, or gives up."""


class CommandError(Exception):
    """What this process needs is taken or not ready; its text is one line that says what to do, `code` how the process ends."""

    code: int = 1


class UsageError(CommandError):
    """What was typed or piped in cannot be meant; nothing was done."""

    code = 2


def flatten_exceptions(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """What really went wrong: the exceptions of a group and of the groups in it."""
    inside = [flatten_exceptions(each) if isinstance(each, BaseExceptionGroup) else [each] for each in group.exceptions]
    return [problem for found in inside for problem in found]
