"""Reorders a command line: options first, free text behind `--`. A message, a name or a path may begin with a hyphen and is then no option."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Argument, ArgumentCollection, Parameter
from cyclopts.utils import UNSET

from vyry.cli.errors import UsageError


#: Text that a user chose: never an option, whatever it begins with.
FreeText = Annotated[str, Parameter(allow_leading_hyphen=True, show_default=False)]
FilePath = Annotated[Path, Parameter(allow_leading_hyphen=True)]
#: An option without a value, and without a --no- form.
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
_END_OF_OPTIONS: Final = "--"
#: As the only argument of a command these print its help; followed by others they are free text.
_HELP_FLAGS: Final = ("--help", "-h", "--version")


def sort_arguments(app: App, words: Sequence[str]) -> list[str]:
    """The same command line with the options first and free text behind `--`. A line that does not fit is returned unchanged, and Cyclopts reports the error. Raises UsageError for words that are not UTF-8.

    Behind the first positional argument every word that is no option of the command is free text: `send @bo --help` sends `--help`, and `groups create --help @bo`
    creates a group of that title.
    """
    commands, apps, rest = app.parse_commands(list(words))
    for each in apps[1:]:
        if each.default_command is not None:
            # The short text is for the list of commands: the help of a command itself is the docstring of its function.
            each.help = None
    if commands and commands[-1].startswith("-"):
        commands, apps, rest = commands[:-1], apps[:-1], [commands[-1], *rest]
    found = apps[-1]
    if found.default_command is None:
        return list(words)
    known = found.assemble_argument_collection()
    for ends_options in (True, False):
        line = _CommandLine(known)
        if line.parse(rest, ends_options=ends_options):
            return [*commands, *line.options, _END_OF_OPTIONS, *line.positional]
    return list(words)


@dataclass
class _CommandLine:
    """A command line while it is parsed."""

    arguments: ArgumentCollection
    options: list[str] = field(default_factory=list)
    positional: list[str] = field(default_factory=list)
    requests_help: bool = False

    def parse(self, words: Sequence[str], *, ends_options: bool) -> bool:
        """Whether every word fits. `ends_options`: `--` ends the options; else it is free text. Raises UsageError."""
        waiting = list(words)
        while waiting:
            word = waiting.pop(0)
            if word == _END_OF_OPTIONS and ends_options:
                self.positional += waiting
                break
            option = self._parse_option(word, waiting)
            if option is not None:
                self.options.append(option)
            elif not word.startswith("-") or word == "-" or self._is_free_text_position():
                self.requests_help |= not self.positional and word in _HELP_FLAGS
                self.positional.append(word)
            else:
                return False
        if self.requests_help and len(self.positional) == 1:
            return False
        return all(self._fits_position(place, word) for place, word in enumerate(self.positional))

    def _parse_option(self, word: str, waiting: list[str]) -> str | None:
        """The word as an option with its value, which is taken from the words that follow; None when it is no option or has no value."""
        name, equals, value = word.partition("=")
        found = _match_argument(self.arguments, name) if word.startswith("-") else None
        if found is None:
            return None
        argument, takes_value = found
        if takes_value and not equals:
            if not waiting or (waiting[0].startswith("-") and not argument.parameter.allow_leading_hyphen):
                return None
            value = waiting.pop(0)
            word = f"{name}={value}"
        _check_text(argument, value)
        return word

    def _is_free_text_position(self) -> bool:
        found = _match_argument(self.arguments, len(self.positional))
        return bool(found and found[0].parameter.allow_leading_hyphen)

    def _fits_position(self, place: int, word: str) -> bool:
        found = _match_argument(self.arguments, place)
        if found is None:
            return False
        _check_text(found[0], word)
        return True


def _match_argument(known: ArgumentCollection, term: str | int) -> tuple[Argument, bool] | None:
    """The argument with this option name or position, and whether it takes a value."""
    try:
        argument, _, implicit = known.match(term)
    except ValueError:
        return None
    return argument, implicit is UNSET


def _check_text(argument: Argument, word: str) -> None:
    """A path may be any bytes; every other argument is UTF-8. Raises UsageError."""
    if argument.hint is Path or argument.hint == Path | None:
        return
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{word!a} is not valid UTF-8: convert it, or set the terminal to UTF-8 (see `locale`)."
        ) from None
