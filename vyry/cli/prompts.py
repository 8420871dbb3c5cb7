"""Prompts for a user at a terminal. Waiting for input ends at Ctrl-C, SIGTERM and the end of standard input; a script is never asked."""

import asyncio
import os
import signal
import sys
import termios
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from vyry.cli.errors import UsageError
from vyry.cli.stdio import decode_text, is_interactive
from vyry.errors import CommandError


T = TypeVar("T")
#: From Ctrl-C to a forced exit: a thread that waits for bytes cannot be stopped.
_END_SECONDS: Final = 2.0
_LONGEST_LINE: Final = 64 << 10


class Terminated(BaseException):
    """SIGTERM was received; the exit code is 143, as for a process that does not catch it."""


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; Ctrl-C and SIGTERM cancel it, and the process exits two seconds later even if it hangs. Raises KeyboardInterrupt, Terminated."""
    ended_by: list[signal.Signals] = []
    timers: list[threading.Timer] = []

    async def run_watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: signal.Signals) -> None:
            if ended_by:
                os._exit(128 + number)
            ended_by.append(number)
            timer = threading.Timer(_END_SECONDS, os._exit, [128 + number])
            timer.daemon = True
            timers.append(timer)
            timer.start()
            task.cancel()

        # Signal handlers can be set in the main thread only.
        with suppress(ValueError, RuntimeError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, end, number)
        return await work

    try:
        return asyncio.run(run_watched())
    except asyncio.CancelledError:
        if not ended_by:
            raise
        raise (KeyboardInterrupt if ended_by[0] is signal.SIGINT else Terminated) from None
    finally:
        # It ended in time: its result or error is still printed.
        for timer in timers:
            timer.cancel()


async def read_line(question: str, *, is_hidden: bool = False) -> str | None:
    """A line of standard input. The question is printed on standard error, since programs read standard output. None at the end of the input."""
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError):
        # Not a file but text in memory, as in tests: reading never blocks.
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().rstrip("\n") or None
    # First: input typed before the echo was off has been visible, and is discarded.
    with _echo_disabled(number) if is_hidden and is_interactive() else nullcontext():
        print(question, end="", file=sys.stderr, flush=True)
        return await _read_line_from(number)


def read_first_line(file: Path, what: str) -> str:
    """The first line of a file; `what` names the content in the error. Raises CommandError."""
    try:
        content = file.read_bytes()
    except OSError as failed:
        raise CommandError(f"Cannot read {what} from {file} ({failed.strerror}).") from None
    found = decode_text(content, f"{file}").splitlines()
    if not found or not found[0]:
        raise CommandError(f"Cannot read {what} from {file}: the first line is empty.")
    return found[0]


async def ask_yes(question: str) -> bool:
    """Whether the user types yes."""
    return ((await read_line(f"{question} Type yes: ")) or "").strip() == "yes"


def confirm_operation(consequence: str, *, yes: bool) -> bool:
    """Whether the operator agrees: by --yes, or by typing yes. Without a terminal the answer is no, and --yes is named."""
    if yes:
        return True
    if is_interactive():
        return run_until_signal(ask_yes(f"{consequence}."))
    print(f"{consequence}. Run again with --yes to confirm.")
    return False


async def _read_line_from(number: int) -> str | None:
    """A line, read byte by byte: what follows it belongs to the next question."""
    found = bytearray()
    while len(found) < _LONGEST_LINE:
        await _wait_readable(number)
        piece = os.read(number, 1)
        if piece in (b"", b"\n"):
            return decode_text(bytes(found), "The input").rstrip("\r") if piece or found else None
        found += piece
    raise UsageError("The input line is too long (limit 64 KiB).")


async def _wait_readable(number: int) -> None:
    """Wait until input is readable. A thread that reads could not be stopped."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(number, ready.set)
    except (OSError, ValueError):
        # A regular file: reading never blocks.
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)


@contextmanager
def _echo_disabled(number: int) -> Iterator[None]:
    """Turn the echo of the terminal off."""
    before = termios.tcgetattr(number)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(number, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSAFLUSH, before)
        print(file=sys.stderr, flush=True)
