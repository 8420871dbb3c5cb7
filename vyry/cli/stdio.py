"""Standard input, output and error, which may be closed, empty, full or in another encoding. None of these cases ends in a traceback."""

import errno
import os
import sys
from contextlib import suppress
from typing import Final, TextIO

from vyry.cli.errors import UsageError


#: Longer than any message; longer content is sent as a file.
_LONGEST_TEXT: Final = 4 << 20


def open_standard_streams() -> None:
    """Make the three streams usable even if they were closed, and printable in every encoding.

    A closed descriptor would be reused by the next file that is opened, perhaps a database. Printing to a closed standard output is still an error.
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
        # Characters that the encoding lacks are escaped: a message that cannot be printed would fail again at every start.
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a stream of a test has none


def is_stdout_utf8() -> bool:
    """Whether standard output can encode every character."""
    return (sys.stdout.encoding or "utf-8").lower().replace("-", "").replace("_", "") == "utf8"


def is_interactive() -> bool:
    """Whether standard input is a terminal, so that the user can be asked."""
    return sys.stdin.isatty()


def read_stdin_text() -> str:
    """All of standard input as text. Raises UsageError."""
    return decode_text(sys.stdin.buffer.read(_LONGEST_TEXT + 1), "Standard input")


def decode_text(content: bytes, where: str) -> str:
    """These bytes as text; `where` they come from begins the error. Raises UsageError when they are not UTF-8."""
    if len(content) > _LONGEST_TEXT:
        raise UsageError(f"{where} is too long for a message: send it as a file (`vyry client files send`).")
    try:
        text = content.decode()
    except UnicodeDecodeError as wrong:
        raise UsageError(
            f"{where} is not valid UTF-8 (byte {wrong.start + 1}): convert it (iconv -t UTF-8), or send it as a file."
        ) from None
    if "\0" in text:
        raise UsageError(f"{where} contains a NUL character: send it as a file.")
    return text


def flush_stdout() -> str | None:
    """Flush standard output. Returns the error text, or None; a reader that closed the pipe is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_pending(sys.stdout)
    except OSError as problem:
        _discard_pending(sys.stdout)
        return stdout_error_text(problem)
    except ValueError:
        # Closed by the command.
        return None
    return None


def is_stdout_error(problem: OSError) -> bool:
    """Whether the error came from writing to standard output: errors of other files have a filename."""
    return problem.filename is None and problem.errno in (errno.ENOSPC, errno.EBADF, errno.EIO)


def stdout_error_text(problem: OSError) -> str:
    """The error as a sentence."""
    return f"Cannot write to standard output ({problem.strerror}): the output is incomplete."


def print_error(line: str) -> None:
    """Print a line on standard error if that is possible."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _discard_pending(stream: TextIO) -> None:
    """Drop buffered output: writing it at the end of the process would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()
