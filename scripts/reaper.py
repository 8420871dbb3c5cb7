"""Ends what its parent has started once the parent is gone, even if it was killed: the pipe on standard input closes then.

Lines: `process PID SIGNAL`, `ended PID`, `folder PATH`. Started by scripts/services.py in a session of its own, out of reach of Ctrl-C.
"""

import contextlib
import os
import shutil
import signal
import sys
import time


def main() -> None:
    """Listen until the pipe closes, then end every process that is left and remove every folder."""
    processes: dict[int, int] = {}
    folders: list[str] = []
    for line in sys.stdin:
        word, value, *rest = line.split()
        if word == "process":
            processes[int(value)] = int(rest[0])
        elif word == "ended":
            processes.pop(int(value), None)
        else:
            folders.append(value)
    end_processes(processes)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def end_processes(processes: dict[int, int]) -> None:
    """Ask each process by its own signal; five seconds later nobody is asked any more."""
    for pid, number in processes.items():
        send_signal(pid, number)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(send_signal(pid, 0) for pid in processes):
        time.sleep(0.05)
    for pid in processes:
        send_signal(pid, signal.SIGKILL)


def send_signal(pid: int, number: int) -> bool:
    """Whether the process was there to take the signal."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)
        return True
    return False


if __name__ == "__main__":
    main()
