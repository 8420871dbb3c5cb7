"""One process uses a profile at a time. Another one waits for the lock and asks for it; a process that only follows events releases it in between.

The lock is `flock` on a file, which ends with the process however that ends. A request is a byte in a named pipe that exists only while the owner is ready to release the profile.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from vyry.client.errors import StoreLocked, Unreachable
from vyry.client.store.database import lock_store
from vyry.client.transport.waits import ProgressTimer, Waits


_PIPE: Final = "vyry.db.asked"
#: Seconds between tries of the lock, and tries between two requests to its owner.
_TRY_SECONDS: Final = 0.05
_ASK_EVERY: Final = 10


async def acquire_profile_lock(store: Path, waits: Waits) -> IO[bytes]:
    """Lock this store, at once or, if `waits` has a limit, after the processes before. The wait starts again each time another process takes the lock. Raises StoreLocked."""
    with suppress(StoreLocked):
        return lock_store(store)
    if waits.seconds is None:
        return lock_store(store)
    progress, owner = ProgressTimer(), _read_owner(store)
    try:
        async with progress.limit_wait(waits, lambda: f"The profile {store.parent} is in use by another process."):
            tries = 0
            while True:
                if waits.requests_profile and tries % _ASK_EVERY == 0:
                    _request_profile(store.parent)
                tries += 1
                await asyncio.sleep(_TRY_SECONDS)
                with suppress(StoreLocked):
                    return lock_store(store)
                if (now := _read_owner(store)) != owner:
                    owner = now
                    progress.advance()
    except Unreachable:
        # Once more, for its error text.
        return lock_store(store)


@contextmanager
def watch_requests(folder: Path, on_request: Callable[[], None]) -> Iterator[None]:
    """Inside the context, `on_request` is called whenever another process asks for the profile in this folder. It never is on a file system without named pipes."""
    pipe, loop = folder / _PIPE, asyncio.get_running_loop()
    try:
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe, 0o600)
        # For writing too: otherwise it ends with the first request.
        descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield
        return

    def read_request() -> None:
        with suppress(BlockingIOError):
            os.read(descriptor, 1024)
        on_request()

    loop.add_reader(descriptor, read_request)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        pipe.unlink(missing_ok=True)
        os.close(descriptor)


def _request_profile(folder: Path) -> None:
    """Ask the owner for the profile; does nothing without a pipe."""
    with suppress(OSError):
        descriptor = os.open(folder / _PIPE, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(descriptor, b"?")
        finally:
            os.close(descriptor)


def _read_owner(store: Path) -> bytes:
    """The mark that the owner of the lock wrote into the file, different for each owner."""
    with suppress(OSError):
        return store.with_name(f"{store.name}.lock").read_bytes()
    return b""
