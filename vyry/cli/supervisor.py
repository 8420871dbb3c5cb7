"""`--processes N`: one process that watches over N equal ones, which share a port by SO_REUSEPORT; the kernel spreads the connections.

A child that dies is replaced, ever more slowly if it keeps dying. A signal to stop is passed on, and the last child's end ends the supervisor.
"""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from vyry.telemetry import log


#: A child that lived shorter than this has not really started.
_YOUNG_SECONDS: Final = 5.0
#: The first pause before one that did not really start is replaced; each further one is twice as long.
_PAUSE_SECONDS: Final = 0.2
#: So many children in a row that did not really start end the attempt.
_TOO_MANY: Final = 5
#: Longer than a child takes at most (running.STOP_SECONDS).
_KILL_SECONDS: Final = 32


class Supervisor:
    """Keeps `count` children running, each in `child(reading end of the life line)`, until it is told to stop."""

    def __init__(self, child: Callable[[int], int], count: int, pause: float = _PAUSE_SECONDS) -> None:
        self._child = child
        self._count = count
        self._pause = pause
        self._born: dict[int, float] = {}
        self._is_stopping = False
        self._died_young = 0
        # Only the supervisor holds the writing end: when it dies, however it dies, the children read its end.
        self._reading, self._writing = os.pipe()

    def run(self) -> int:
        """0 when it was told to stop and all children ended well."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        code = 0
        for _ in range(self._count):
            self._begin()
        while self._born:
            code = max(code, self._await_one())
        return code

    def _begin(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid:
            self._born[pid] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._writing)
            code = self._child(self._reading)
        finally:
            os._exit(code)

    def _await_one(self) -> int:
        pid, status = os.wait()
        age = time.monotonic() - self._born.pop(pid, 0.0)
        code = os.waitstatus_to_exitcode(status)
        if self._is_stopping:
            return abs(code)
        log.error("child ended", process=pid, status=code)
        self._died_young = self._died_young + 1 if age < _YOUNG_SECONDS else 0
        if self._died_young >= _TOO_MANY:
            log.error("giving up", reason="the children do not start")
            self._stop(signal.SIGTERM, None)
            return 1
        time.sleep(self._pause * (2**self._died_young - 1))
        if not self._is_stopping:
            self._begin()
        return 0

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        is_first, self._is_stopping = not self._is_stopping, True
        self._tell(signal.SIGTERM)
        if is_first:
            signal.alarm(_KILL_SECONDS)
            log.info("stopping", reason=signal.Signals(number).name)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        self._tell(signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        for pid in list(self._born):
            os.kill(pid, number)


_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
