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
SEAL_SECONDS: Final = 5.0
#: Accounts whose keys are burned in one transaction: its locks must be short.
BURN_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Marks:
    """What a folder knows: the mark that was in the database last, and the one that was being put there, if any."""

    node: UUID
    sure: UUID
    pending: UUID | None = None
    #: How often keys had to be burned: what was claimed in one process may have been burned by another.
    burns: int = 0


class Folder(Protocol):
    """The outside. One user at a time, in whichever process of this machine."""

    async def hold(self) -> None:
        """Wait until nobody else uses the folder."""
        ...

    def release(self) -> None:
        """Let the next one."""
        ...

    async def read(self) -> Marks | None:
        """What was written last; None in a new folder."""
        ...

    async def write(self, marks: Marks) -> None:
        """Keep this, durably."""
        ...


class LedgerStore(Protocol):
    """The inside. Every method raises `Unavailable` when the database is away."""

    async def mark(self, node: UUID) -> UUID | None:
        """The mark of this node."""
        ...

    async def advance(self, node: UUID, old: UUID, new: UUID, now: datetime) -> bool:
        """Put a new mark in the place of the old one, unless another one is there; by one statement."""
        ...

    async def adopt(self, node: UUID, mark: UUID, now: datetime) -> None:
        """Whatever there was: this is the mark of this node, and the fingerprint is that of this database."""
        ...

    async def is_other_database(self) -> bool:
        """Whether these tables were made in another database, or at another time of it, than the one they are in now."""
        ...

    async def burn(self, after: UUID, limit: int, now: datetime) -> UUID | None:
        """Burn all one-time keys of the accounts after this one by id, and tell their devices; answers the last one, None when there are no more."""
        ...

    async def note(self, operator: str, reason: str, now: datetime) -> None:
        """Write into the log of operators' acts that the keys were burned."""
        ...


class ClaimLedger:
    """Stands around every claim. `run` looks and changes the marks, for all who wait at once."""

    def __init__(self, store: LedgerStore, folder: Folder, clock: Clock) -> None:
        self._store = store
        self._folder = folder
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []
        self._ring = asyncio.Event()
        self._is_known = False
        self._burns = 0

    async def begin(self) -> int:
        """Before a claim: the database has been looked at since the node started. Answers what `seal` wants to know. Raises Unavailable."""
        if not self._is_known:
            await self._look()
        return self._burns

    async def seal(self, begun: int) -> None:
        """Once this returns, no older copy of the database passes for one that has what is committed by now.

        Raises Unavailable: the database is away, or was found older than it was since the claim began. Then nothing of it may be handed out.
        """
        await self._look()
        if self._burns != begun:
            raise Unavailable("The directory was put back to an older state; claim again.")

    async def run(self) -> Never:
        """Look and change the marks when the node starts, for every claim, and each minute, until cancelled."""
        while True:
            self._ring.clear()
            waiting, self._waiting = self._waiting, []
            problem: Unavailable | None = None
            try:
                await self._rotate()
                self._is_known = True
            except Unavailable as away:
                self._is_known, problem = False, away
            for done in waiting:
                _answer(done, problem)
            with suppress(TimeoutError):
                async with asyncio.timeout(ROTATE_SECONDS):
                    await self._ring.wait()

    async def _look(self) -> None:
        """Wait for a look that begins after now."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._ring.set()
        try:
            async with asyncio.timeout(SEAL_SECONDS):
                await done
        except TimeoutError:
            raise Unavailable("The claim could not be noted.") from None

    async def _rotate(self) -> None:
        await self._folder.hold()
        try:
            before, fresh = await self._folder.read(), uuid4()
            is_older = not self._is_known and await self._store.is_other_database()
            if before is not None and not is_older:
                is_older = not await self._advance(before, fresh)
            node, burns = (before.node, before.burns + is_older) if before else (uuid4(), self._burns + is_older)
            if is_older and before is not None:
                # Should this process die while it burns, the others of this folder know of it all the same.
                await self._folder.write(replace(before, burns=burns))
            if is_older:
                await self._burn()
            if before is None or is_older:
                await self._store.adopt(node, fresh, self._clock.now())
            self._burns = burns
            await self._folder.write(Marks(node, fresh, None, self._burns))
        finally:
            self._folder.release()

    async def _burn(self) -> None:
        now = self._clock.now()
        log.critical("restored", outcome="burned")
        await burn_all(self._store, now)
        await self._store.note("vyry", "the database is older than it was", now)

    async def _advance(self, before: Marks, fresh: UUID) -> bool:
        sure = before.sure
        if before.pending is not None:
            found = await self._store.mark(before.node)
            if found not in (before.sure, before.pending):
                return False
            sure = found
        await self._folder.write(Marks(before.node, sure, fresh, before.burns))
        return await self._store.advance(before.node, sure, fresh, self._clock.now())


def _answer(done: "asyncio.Future[None]", problem: Unavailable | None) -> None:
    if done.done():
        return
    if problem is None:
        done.set_result(None)
    else:
        done.set_exception(Unavailable(problem.problem))


async def burn_all(store: LedgerStore, now: datetime) -> None:
    """Burn every one-time key there is. May be repeated after a crash: what is burned stays so. Raises Unavailable."""
    after: UUID | None = UUID(int=0)
    while after is not None:
        after = await store.burn(after, BURN_BATCH, now)
