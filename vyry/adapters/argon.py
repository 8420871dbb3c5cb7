"""Argon2id for PINs, in threads of its own, so that a crowd of PINs takes neither the event loop nor all memory."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from vyry.accounts.pin import Fit, Guesser
from vyry.adapters.fair_line import FairLine


THREADS: Final = 2
#: Kept for registration locks: a node that is busy with the PINs of devices has a place for who signs up.
LOCK_THREADS: Final = 1
#: So many accounts wait; each has had a turn within some three seconds of work for THREADS.
WAITING_ACCOUNTS: Final = 200
#: So many requests of one account wait: they delay each other alone.
WAITING_EACH: Final = 64


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash takes; verifiers of another cost are made anew when their PIN is given."""

    memory_kib: int = 19 << 10
    passes: int = 2
    lanes: int = 1


class ArgonPins:
    """PinHasher: at most `threads` hash at a time for devices, and LOCK_THREADS for registration locks; before both accounts take turns."""

    def __init__(
        self, cost: Cost = Cost(), threads: int = THREADS, accounts: int = WAITING_ACCOUNTS, each: int = WAITING_EACH
    ) -> None:
        self._devices = FairLine(threads, accounts, each)
        self._locks = FairLine(LOCK_THREADS, accounts, each)
        self._place = _Place(cost, ThreadPoolExecutor(threads + LOCK_THREADS, "argon"))

    def refuse_full(self, guesser: Guesser) -> None:
        self._line_of(guesser).refuse_full(guesser.account_id)

    @asynccontextmanager
    async def place(self, guesser: Guesser) -> AsyncIterator["_Place"]:
        async with self._line_of(guesser).place(guesser.account_id):
            yield self._place

    def _line_of(self, guesser: Guesser) -> FairLine:
        return self._locks if guesser.is_at_lock else self._devices


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
