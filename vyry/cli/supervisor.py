"""`--processes N`: a supervisor and N child processes, which share a port by SO_REUSEPORT; the kernel distributes the connections.

A child that exits is replaced, with a growing delay if children keep exiting. A stop signal is passed on; the supervisor exits after its last child.
"""

import os
import signal
import time
from collections.abc import Callable
from math import ceil
from types import FrameType
from typing import Final

from vyry.telemetry import log


#: A child that exits sooner counts as a failed start.
_MIN_UPTIME_SECONDS: Final = 5.0
#: The delay after the first failed start; it doubles with each further one.
_RESTART_DELAY_SECONDS: Final = 0.2
#: The supervisor gives up after this many failed starts in a row.
_MAX_FAILED_STARTS: Final = 5
#: After the time that a child has to stop, until it is killed.
_KILL_AFTER_SECONDS: Final = 3


class Supervisor:
    """Keeps `count` children running until a stop signal; each runs `child(read end of a pipe, its number from 0)`, and the pipe closes when the supervisor exits.

    A replacement has the number of the child that exited. A child has `stop_seconds` to stop.
    """

    def __init__(
        self, child: Callable[[int, int], int], count: int, stop_seconds: float, pause: float = _RESTART_DELAY_SECONDS
    ) -> None:
        self._child = child
        self._count = count
        self._stop_seconds = stop_seconds
        self._pause = pause
        #: The number of each running child, and the time of its start, by process id.
        self._children: dict[int, tuple[int, float]] = {}
        self._is_stopping = False
        self._failed_starts = 0
        # Only the supervisor has the write end: the children read the end of file however it exits.
        self._pipe_read, self._pipe_write = os.pipe()

    def run(self) -> int:
        """Run until stopped; 0 when all children exited with 0 after a stop signal."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        code = 0
        for number in range(self._count):
            self._start_child(number)
        while self._children:
            code = max(code, self._wait_child())
        return code

    def _start_child(self, number: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid:
            self._children[pid] = number, time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        code = 1
        try:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._pipe_write)
            code = self._child(self._pipe_read, number)
        finally:
            os._exit(code)

    def _wait_child(self) -> int:
        pid, status = os.wait()
        if pid not in self._children:
            # As the first process of a container, the supervisor also gets the orphans of others.
            return 0
        number, started_at = self._children.pop(pid)
        age = time.monotonic() - started_at
        code = os.waitstatus_to_exitcode(status)
        if self._is_stopping:
            return abs(code)
        log.error("child_exited", process=pid, status=code)
        self._failed_starts = self._failed_starts + 1 if age < _MIN_UPTIME_SECONDS else 0
        if self._failed_starts >= _MAX_FAILED_STARTS:
            log.error("supervisor_failed", reason="children exit at start")
            self._stop(signal.SIGTERM, None)
            return 1
        time.sleep(self._pause * (2**self._failed_starts - 1))
        if not self._is_stopping:
            self._start_child(number)
        return 0

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        is_first, self._is_stopping = not self._is_stopping, True
        self._signal_children(signal.SIGTERM)
        if is_first:
            signal.alarm(ceil(self._stop_seconds) + _KILL_AFTER_SECONDS)
            log.info("stopping", reason=signal.Signals(number).name)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        self._signal_children(signal.SIGKILL)

    def _signal_children(self, number: signal.Signals) -> None:
        for pid in list(self._children):
            os.kill(pid, number)


_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
