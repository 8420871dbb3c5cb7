"""Argon2id for PINs in threads of its own, so that many PINs block neither the event loop nor fill the memory."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from vyry.accounts.pin import Guesser, PinMatch
from vyry.in_process.fair_queue import FairQueue


DEVICE_THREADS: Final = 2
#: Reserved for registration locks, so that PINs of devices do not block sign-ups.
LOCK_THREADS: Final = 1
#: With so many waiting accounts each has a turn within about three seconds.
WAITING_ACCOUNTS: Final = 200
#: Waiting requests of one account; they delay only each other.
WAITING_PER_ACCOUNT: Final = 64


@dataclass(frozen=True, slots=True)
class ArgonCost:
    """The cost of a hash. A verifier of another cost is replaced when its PIN is next given."""

    memory_kib: int = 19 << 10
    iterations: int = 2
    parallelism: int = 1


class ArgonPinHasher:
    """PinHasher: `threads` for devices and LOCK_THREADS for registration locks, each with a fair queue of accounts."""

    def __init__(
        self,
        cost: ArgonCost = ArgonCost(),
        threads: int = DEVICE_THREADS,
        accounts: int = WAITING_ACCOUNTS,
        each: int = WAITING_PER_ACCOUNT,
    ) -> None:
        self._devices = FairQueue(threads, accounts, each)
        self._locks = FairQueue(LOCK_THREADS, accounts, each)
        self._place = _ArgonSlot(cost, ThreadPoolExecutor(threads + LOCK_THREADS, "argon"))

    @property
    def loads(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """FairQueue.load for devices, and for registration locks."""
        return self._devices.load, self._locks.load

    def check_capacity(self, guesser: Guesser) -> None:
        self._queue_for(guesser).check_capacity(guesser.account_id)

    @asynccontextmanager
    async def acquire_slot(self, guesser: Guesser) -> AsyncIterator["_ArgonSlot"]:
        async with self._queue_for(guesser).acquire_slot(guesser.account_id):
            yield self._place

    def _queue_for(self, guesser: Guesser) -> FairQueue:
        return self._locks if guesser.is_at_lock else self._devices


class _ArgonSlot:
    """HashingSlot. argon2-cffi releases the GIL while it hashes."""

    def __init__(self, cost: ArgonCost, threads: ThreadPoolExecutor) -> None:
        self._argon = PasswordHasher(cost.iterations, cost.memory_kib, cost.parallelism, 32, 16, type=Type.ID)
        self._threads = threads

    async def make_verifier(self, secret: bytes) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._argon.hash, secret)

    async def match_verifier(self, verifier: str, secret: bytes) -> PinMatch:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, verifier, secret)

    def _verify(self, verifier: str, secret: bytes) -> PinMatch:
        try:
            self._argon.verify(verifier, secret)
        except VerifyMismatchError:
            return PinMatch.WRONG
        return PinMatch.OUTDATED if self._argon.check_needs_rehash(verifier) else PinMatch.RIGHT
