"""A pipe whose one end is in the hands of a thread: it joins a library that reads or writes a stream to code that does the other."""

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Final


#: A large buffer means fewer switches between the two threads.
_BYTES: Final = 1 << 20


class ThreadedPipe:
    """Runs `work(read end, write end)` in a thread; the block has the other end. An error of the thread replaces the error that it caused in the block."""

    def __init__(self, work: Callable[[BinaryIO, BinaryIO], None], *, is_block_writing: bool) -> None:
        reading, writing = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _BYTES)
        self._work = work
        self._ends = os.fdopen(reading, "rb", _BYTES), os.fdopen(writing, "wb", _BYTES)
        self._of_block, self._of_thread = reversed(self._ends) if is_block_writing else self._ends
        self._failure: BaseException | None = None
        self._is_given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pipe", daemon=True)

    def __enter__(self) -> BinaryIO:
        self._thread.start()
        return self._of_block

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            # What the thread met before is the cause; what it meets from now on is a consequence.
            self._is_given_up.set()
        with suppress(OSError):
            self._of_block.close()
        self._thread.join()
        if self._failure is not None:
            raise self._failure from None

    def _run(self) -> None:
        try:
            self._work(*self._ends)
        except BaseException as failure:  # noqa: BLE001  raised again by the thread that waits
            if not self._is_given_up.is_set():
                self._failure = failure
        finally:
            with suppress(OSError):
                self._of_thread.close()
