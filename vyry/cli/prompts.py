"""What a person is asked, and how waiting for the answer ends: at Ctrl-C at once, at the end of standard input, and never in a script."""

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

from vyry.cli.errors import CommandError, UsageError
from vyry.cli.stdio import decode_text, is_interactive


T = TypeVar("T")
#: How long what runs may take to end after Ctrl-C: a thread that waits for bytes cannot be stopped.
_END_SECONDS: Final = 2.0
_LONGEST_LINE: Final = 64 << 10


class Terminated(BaseException):
    """SIGTERM came; the process ends with 143, as one that does not catch it."""


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run it, until Ctrl-C or SIGTERM end it: then within two seconds, whatever hangs. Raises KeyboardInterrupt, Interrupted."""
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

        # Elsewhere than in the main thread there are no signals.
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
        # It ended in time: what it ended with is said yet.
        for timer in timers:
            timer.cancel()


async def read_line(question: str, *, is_hidden: bool = False) -> str | None:
    """What is typed after this question, which stands on standard error: standard output is for programs to read. None at the end of standard input."""
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError):
        # No file: a text in memory, which never makes one wait.
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().rstrip("\n") or None
    # First: what was typed ahead of a hidden answer was shown, and is forgotten.
    with _echo_disabled(number) if is_hidden and is_interactive() else nullcontext():
        print(question, end="", file=sys.stderr, flush=True)
        return await _read_line_from(number)


def read_first_line(file: Path, what: str) -> str:
    """The first line of a file; `what` it should hold, for the sentence when it does not. Raises CannotServe."""
    try:
        content = file.read_bytes()
    except OSError as failed:
        raise CommandError(f"{what} cannot be read from {file} ({failed.strerror}).") from None
    found = decode_text(content, f"{file}").splitlines()
    if not found or not found[0]:
        raise CommandError(f"{what} cannot be read from {file}: its first line is empty.")
    return found[0]


async def ask_yes(question: str) -> bool:
    """Whether a person types yes."""
    return ((await read_line(f"{question} Type yes: ")) or "").strip() == "yes"


def confirm_operation(consequence: str, *, yes: bool) -> bool:
    """Whether the operator agrees: by --yes, or by typing yes. Without a terminal the answer is no, and --yes is named."""
    if yes:
        return True
    if is_interactive():
        return run_until_signal(ask_yes(f"{consequence}."))
    print(f"{consequence}: --yes does it.")
    return False


async def _read_line_from(number: int) -> str | None:
    """A line, byte for byte: what follows it is for the next question."""
    found = bytearray()
    while len(found) < _LONGEST_LINE:
        await _wait_readable(number)
        piece = os.read(number, 1)
        if piece in (b"", b"\n"):
            return decode_text(bytes(found), "What was typed").rstrip("\r") if piece or found else None
        found += piece
    raise UsageError("What was typed is longer than any answer.")


async def _wait_readable(number: int) -> None:
    """Wait until something can be read, without a thread, which could not be stopped."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(number, ready.set)
    except (OSError, ValueError):
        # A file, which never makes one wait.
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)


@contextmanager
def _echo_disabled(number: int) -> Iterator[None]:
    """What is typed is not shown."""
    before = termios.tcgetattr(number)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(number, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSAFLUSH, before)
        print(file=sys.stderr, flush=True)
