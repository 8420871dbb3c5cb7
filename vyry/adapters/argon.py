"""Argon2id for PINs, in threads of its own, so that a crowd of PINs takes neither the event loop nor all memory."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from vyry.accounts.pin import Fit
from vyry.errors import Unavailable


THREADS: Final = 2
#: Some three seconds of work for THREADS.
WAITING: Final = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash takes; verifiers of another cost are made anew when their PIN is given."""

    memory_kib: int = 19 << 10
    passes: int = 2
    lanes: int = 1


class ArgonPins:
    """PinHasher: at most THREADS hash at a time, at most WAITING wait."""

    def __init__(self, cost: Cost = Cost(), threads: int = THREADS, waiting: int = WAITING) -> None:
        self._free = asyncio.Semaphore(threads)
        self._room = waiting
        self._place = _Place(cost, ThreadPoolExecutor(threads, "argon"))

    @asynccontextmanager
    async def place(self) -> AsyncIterator["_Place"]:
        if self._free.locked() and self._room == 0:
            raise Unavailable("Too many PINs are being checked.")
        self._room -= 1
        try:
            await self._free.acquire()
        finally:
            self._room += 1
        try:
            yield self._place
        finally:
            self._free.release()


class _Place:
    """HashingPlace. argon2-cffi lets go of the interpreter's lock while it works."""

    def __init__(self, cost: Cost, threads: ThreadPoolExecutor) -> None:
        self._argon = PasswordHasher(cost.passes, cost.memory_kib, cost.lanes, 32, 16, type=Type.ID)
        self._threads = threads

    async def make(self, secret: bytes) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._argon.hash, secret)

    async def fits(self, verifier: str, secret: bytes) -> Fit:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._fits, verifier, secret)

    def _fits(self, verifier: str, secret: bytes) -> Fit:
        try:
            self._argon.verify(verifier, secret)
        except VerifyMismatchError:
            return Fit.WRONG
        return Fit.OUTDATED if self._argon.check_needs_rehash(verifier) else Fit.RIGHT
