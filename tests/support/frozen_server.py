"""A server that never answers and keeps its connections open, like a host behind a broken network or a stuck disk."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.services import Server


@contextmanager
def freeze_server(server: Server) -> Iterator[None]:
    """Stop every process of the server without ending it, for as long as the block lasts."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    everyone = [server.pid, *map(int, children)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
