"""What was handed out stays handed out, also when the database is put back to an older state.

Theory: a node keeps a mark outside the database, in its data folder, and the same mark in it. Both are changed after every claim and before it is answered:
so whatever copy of the database lacks an answered claim has another mark than the folder. Changing takes two steps (the folder names the new mark, the
database takes it, the folder forgets the old one), so a crash in between leaves a mark that the folder knows. PostgreSQL has a fingerprint too, which is
kept inside: a dump that was loaded elsewhere, or a server that went back in time, tells by it even to a node whose folder is new.

When the database is found older than it was, nobody can say which of its one-time keys were given away since: all of them are burned before any claim is
answered. The last resort keys go on, and devices are told to upload anew.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Never, Protocol
from uuid import UUID, uuid4

from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.telemetry import log


#: An idle node changes its mark this often, so that a restore is found before somebody claims.
ROTATE_SECONDS: Final = 60.0
#: What a claim waits for its seal.
CONFIRM_SECONDS: Final = 5.0
#: Accounts whose keys are burned in one transaction: its locks must be short.
DISCARD_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class RestoreMarkers:
    """What a folder knows: the mark that was in the database last, and the one that was being put there, if any."""

    node: UUID
    sure: UUID
    pending: UUID | None = None
    #: How often keys had to be burned: what was claimed in one process may have been burned by another.
    discards: int = 0


class MarkerFile(Protocol):
    """The outside. One user at a time, in whichever process of this machine."""

    async def lock(self) -> None:
        """Wait until nobody else uses the folder."""
        ...

    def unlock(self) -> None:
        """Let the next one."""
        ...

    async def read(self) -> RestoreMarkers | None:
        """What was written last; None in a new folder."""
        ...

    async def write(self, marks: RestoreMarkers) -> None:
        """Keep this, durably."""
        ...


class MarkerStore(Protocol):
    """The inside. Every method raises `Unavailable` when the database is away."""

    async def load_marker(self, node: UUID) -> UUID | None:
        """The mark of this node."""
        ...

    async def advance_marker(self, node: UUID, old: UUID, new: UUID, now: datetime) -> bool:
        """Put a new mark in the place of the old one, unless another one is there; by one statement."""
        ...

    async def reset_marker(self, node: UUID, mark: UUID, now: datetime) -> None:
        """Whatever there was: this is the mark of this node, and the fingerprint is that of this database."""
        ...

    async def is_other_database(self) -> bool:
        """Whether these tables were made in another database, or at another time of it, than the one they are in now."""
        ...

    async def discard_keys(self, after_id: UUID, limit: int, now: datetime) -> UUID | None:
        """Burn all one-time keys of the accounts after this one by id, and tell their devices; answers the last one, None when there are no more."""
        ...

    async def record_discard(self, operator: str, reason: str, now: datetime) -> None:
        """Write into the log of operators' acts that the keys were burned."""
        ...


class RestoreDetector:
    """Stands around every claim. `run` looks and changes the marks, for all who wait at once."""

    def __init__(self, store: MarkerStore, folder: MarkerFile, clock: Clock) -> None:
        self._store = store
        self._file = folder
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []
        self._check_requested = asyncio.Event()
        self._is_known = False
        self._discards = 0

    async def begin_claim(self) -> int:
        """Before a claim: the database has been looked at since the node started. Answers what `seal` wants to know. Raises Unavailable."""
        if not self._is_known:
            await self._wait_for_check()
        return self._discards

    async def confirm_claim(self, begun: int) -> None:
        """Once this returns, no older copy of the database passes for one that has what is committed by now.

        Raises Unavailable: the database is away, or was found older than it was since the claim began. Then nothing of it may be handed out.
        """
        await self._wait_for_check()
        if self._discards != begun:
            raise Unavailable("The directory was put back to an older state; claim again.")

    async def run(self) -> Never:
        """Look and change the marks when the node starts, for every claim, and each minute, until cancelled."""
        while True:
            self._check_requested.clear()
            waiting, self._waiting = self._waiting, []
            problem: Unavailable | None = None
            try:
                await self._check_and_advance()
                self._is_known = True
            except Unavailable as away:
                self._is_known, problem = False, away
            for done in waiting:
                _answer(done, problem)
            with suppress(TimeoutError):
                async with asyncio.timeout(ROTATE_SECONDS):
                    await self._check_requested.wait()

    async def _wait_for_check(self) -> None:
        """Wait for a look that begins after now."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._check_requested.set()
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await done
        except TimeoutError:
            raise Unavailable("The claim could not be noted.") from None

    async def _check_and_advance(self) -> None:
        await self._file.lock()
        try:
            before, fresh = await self._file.read(), uuid4()
            is_older = not self._is_known and await self._store.is_other_database()
            if before is not None and not is_older:
                is_older = not await self._advance(before, fresh)
            node, discards = (
                (before.node, before.discards + is_older) if before else (uuid4(), self._discards + is_older)
            )
            if is_older and before is not None:
                # Should this process die while it burns, the others of this folder know of it all the same.
                await self._file.write(replace(before, discards=discards))
            if is_older:
                await self._discard_keys()
            if before is None or is_older:
                await self._store.reset_marker(node, fresh, self._clock.now())
            self._discards = discards
            await self._file.write(RestoreMarkers(node, fresh, None, self._discards))
        finally:
            self._file.unlock()

    async def _discard_keys(self) -> None:
        now = self._clock.now()
        log.critical("restored", outcome="burned")
        await discard_all_keys(self._store, now)
        await self._store.record_discard("vyry", "the database is older than it was", now)

    async def _advance(self, before: RestoreMarkers, fresh: UUID) -> bool:
        sure = before.sure
        if before.pending is not None:
            found = await self._store.load_marker(before.node)
            if found not in (before.sure, before.pending):
                return False
            sure = found
        await self._file.write(RestoreMarkers(before.node, sure, fresh, before.discards))
        return await self._store.advance_marker(before.node, sure, fresh, self._clock.now())


def _answer(done: "asyncio.Future[None]", problem: Unavailable | None) -> None:
    if done.done():
        return
    if problem is None:
        done.set_result(None)
    else:
        done.set_exception(Unavailable(problem.problem))


async def discard_all_keys(store: MarkerStore, now: datetime) -> None:
    """Burn every one-time key there is. May be repeated after a crash: what is burned stays so. Raises Unavailable."""
    after: UUID | None = UUID(int=0)
    while after is not None:
        after = await store.discard_keys(after, DISCARD_BATCH, now)
