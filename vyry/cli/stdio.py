"""Standard input, output and error as people and programs hand them over: closed, empty, full, in another encoding. None of it is a traceback."""

import errno
import os
import sys
from contextlib import suppress
from typing import Final, TextIO

from vyry.cli.errors import UsageError


#: Longer than any message; what is more is a file.
_LONGEST_TEXT: Final = 4 << 20


def open_standard_streams() -> None:
    """Have three streams that can be used, whatever was closed, and whatever has to be shown.

    A closed one would be the next file that is opened, perhaps a database. Nothing can be written to a closed standard output: that is an error where something is shown.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # What the encoding lacks is shown by its number: an item that cannot be printed would be met again at each start.
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a stream of a test has none


def is_stdout_utf8() -> bool:
    """Whether standard output takes every character."""
    return (sys.stdout.encoding or "utf-8").lower().replace("-", "").replace("_", "") == "utf8"


def is_interactive() -> bool:
    """Whether somebody sits before standard input, who can be asked."""
    return sys.stdin.isatty()


def read_stdin_text() -> str:
    """All of standard input, which has to be text. Raises WrongLine."""
    return decode_text(sys.stdin.buffer.read(_LONGEST_TEXT + 1), "Standard input")


def decode_text(content: bytes, where: str) -> str:
    """These bytes as text; `where` they come from begins the sentence. Raises WrongLine for what is none."""
    if len(content) > _LONGEST_TEXT:
        raise UsageError(f"{where} is longer than any message: send it as a file (`vyry client files send`).")
    try:
        text = content.decode()
    except UnicodeDecodeError as wrong:
        raise UsageError(
            f"{where} is no text in UTF-8 (byte {wrong.start + 1}): convert it (iconv -t UTF-8), or send it as a file."
        ) from None
    if "\0" in text:
        raise UsageError(f"{where} has a NUL character in it, so it is no text: send it as a file.")
    return text


def flush_stdout() -> str | None:
    """Write out what was printed; why that cannot be, in words, or None. A reader that went away has seen enough, and is no problem."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_pending(sys.stdout)
    except OSError as problem:
        _discard_pending(sys.stdout)
        return stdout_error_text(problem)
    except ValueError:
        # Closed by what ran.
        return None
    return None


def is_stdout_error(problem: OSError) -> bool:
    """Whether this came from writing to standard output: what opens and writes files says which."""
    return problem.filename is None and problem.errno in (errno.ENOSPC, errno.EBADF, errno.EIO)


def stdout_error_text(problem: OSError) -> str:
    """The same in words."""
    return f"Standard output cannot be written ({problem.strerror}): not everything was shown."


def print_error(line: str) -> None:
    """A line on standard error, if it takes one."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _discard_pending(stream: TextIO) -> None:
    """What waits to be written goes nowhere: at the end of the process it would fail once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()
