"""The name of this worker: its own among all workers, and the same after a restart, so that a quick restart moves no partition."""

import asyncio
import socket
import time
from typing import Final
from uuid import uuid4

from vyry import __version__
from vyry.errors import OperationRefused
from vyry.mail.partitions import Worker
from vyry.mail.workers import HEARTBEAT_SECONDS, MAX_WORKER_NAME, WorkerIdentity, WorkerStore


#: A name is taken over from a worker that writes no heartbeat for so long.
LOST_SECONDS: Final = 3.0
#: More workers than that on one host have names of their own.
_MAX_NUMBER: Final = 64


class WorkerNameTaken(OperationRefused):
    """Another live process has the name of this worker."""

    def __init__(self, holder: Worker) -> None:
        super().__init__(
            f"The name {holder.name} is in use by a live worker on {holder.host}, started {holder.started_at:%Y-%m-%d %H:%M:%S} UTC:"
            " stop that worker, or set another VYRY_WORKER_NAME."
        )
        self.holder = holder


async def claim_name(store: WorkerStore, wanted: str | None, *, is_alone: bool = False) -> WorkerIdentity:
    """The name `wanted`, or else the host and the first number that is free.

    A process that is the only one of its node waits for no heartbeat of another. Raises WorkerNameTaken, Unavailable.
    """
    wait_seconds = 0.0 if is_alone else LOST_SECONDS
    host = socket.gethostname()[:255]
    base = host.partition(".")[0][: MAX_WORKER_NAME - 3]
    boot = uuid4()
    names = [wanted] if wanted else [f"{base}-{number}" for number in range(1, _MAX_NUMBER)]
    while True:
        worker = WorkerIdentity(name=names.pop(0), host=host, version=__version__, boot=boot)
        holder = await _claim(store, worker, wait_seconds)
        if holder is None:
            return worker
        if not names:
            raise WorkerNameTaken(holder)


async def _claim(store: WorkerStore, worker: WorkerIdentity, wait_seconds: float) -> Worker | None:
    """Claim the name, if need be after waiting for a heartbeat of its holder; returns the holder if there was one."""
    holder = await store.claim(worker)
    since = time.monotonic()
    while holder is not None:
        is_silent = time.monotonic() - since >= wait_seconds
        found = await store.claim(worker, lost=holder if is_silent else None)
        if found is None:
            return None
        if (found.boot, found.heartbeat_at) != (holder.boot, holder.heartbeat_at):
            return found
        await asyncio.sleep(HEARTBEAT_SECONDS / 2)
    return None
