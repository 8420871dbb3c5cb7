"""One process works with a profile at a time. Another one waits for its turn, and asks for it; one that only follows events gives it away in between.

The turn is a lock on a file (`flock`), which ends with the process whatever kills it. Asking is a byte in a named pipe that exists only while somebody would give the profile away.
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
#: How often the lock is tried, and how often its holder is asked.
_TRY_SECONDS: Final = 0.05
_ASK_EVERY: Final = 10


async def acquire_profile_lock(store: Path, waits: Waits) -> IO[bytes]:
    """The lock of this store, at once or, if `waits` says how long, after the processes before. Each turn that another one takes begins the wait anew. Raises StoreLocked."""
    with suppress(StoreLocked):
        return lock_store(store)
    if waits.seconds is None:
        return lock_store(store)
    progress, holder = ProgressTimer(), _read_owner(store)
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
                if (now := _read_owner(store)) != holder:
                    holder = now
                    progress.advance()
    except Unreachable:
        # Once more, for what it says.
        return lock_store(store)


@contextmanager
def watch_requests(folder: Path, on_request: Callable[[], None]) -> Iterator[None]:
    """Inside, `asked` is called whenever another process asks for the profile in this folder, which this one works with. On a disk without named pipes it never is."""
    pipe, loop = folder / _PIPE, asyncio.get_running_loop()
    try:
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe, 0o600)
        # For writing too, so that it does not end with the first who asks.
        descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield
        return

    def hear() -> None:
        with suppress(BlockingIOError):
            os.read(descriptor, 1024)
        on_request()

    loop.add_reader(descriptor, hear)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        pipe.unlink(missing_ok=True)
        os.close(descriptor)


def _request_profile(folder: Path) -> None:
    """Say that somebody waits; nobody may be there to hear it."""
    with suppress(OSError):
        descriptor = os.open(folder / _PIPE, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(descriptor, b"?")
        finally:
            os.close(descriptor)


def _read_owner(store: Path) -> bytes:
    """Who has the lock, as it wrote into the file: another word each time."""
    with suppress(OSError):
        return store.with_name(f"{store.name}.lock").read_bytes()
    return b""
