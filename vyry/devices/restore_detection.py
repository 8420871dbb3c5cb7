"""Detects a database that was restored to an earlier state, so no one-time key is claimed twice.

Theory: a node has a restore marker in a file in its data folder, and the same marker in the database. Both are replaced after every claim and before its
response: a copy of the database without that claim has another marker than the file. A replacement takes three writes (the file gets the new marker as
pending, the database gets it, the file drops the old one), so after a crash the marker of the database is one that the file has. PostgreSQL also has a
fingerprint, stored in the database: it reveals a dump loaded elsewhere, or a server that was rolled back, to a node with an empty data folder, too.

In a restored database it is unknown which one-time keys were claimed since the backup. The node discards all of them before it answers a claim. Claims
then get last-resort prekeys, and the devices are notified to upload new keys.
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


#: How often an idle node replaces its marker, to detect a restore before the next claim.
ROTATE_SECONDS: Final = 60.0
#: How long a claim waits for its confirmation.
CONFIRM_SECONDS: Final = 5.0
#: For how many accounts one transaction discards the keys; its row locks must be short.
DISCARD_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class RestoreMarkers:
    """The content of the marker file: the marker last known to be in the database, and the one being written there, if any."""

    node: UUID
    sure: UUID
    pending: UUID | None = None
    #: How often keys were discarded: another process may have discarded the keys of a running claim.
    discards: int = 0


class MarkerFile(Protocol):
    """The marker file. One process of this machine uses it at a time."""

    async def lock(self) -> None:
        """Wait for the exclusive lock of the file."""
        ...

    def unlock(self) -> None:
        """Release the lock."""
        ...

    async def read(self) -> RestoreMarkers | None:
        """The last written content; None in a new folder."""
        ...

    async def write(self, markers: RestoreMarkers) -> None:
        """Write the content durably."""
        ...


class MarkerStore(Protocol):
    """The markers in the database. Every method raises `Unavailable` while the database is down."""

    async def load_marker(self, node: UUID) -> UUID | None:
        """The marker of this node."""
        ...

    async def advance_marker(self, node: UUID, old: UUID, new: UUID, now: datetime) -> bool:
        """Replace the marker `old` by `new`, by one statement. False: the marker is another one."""
        ...

    async def reset_marker(self, node: UUID, mark: UUID, now: datetime) -> None:
        """Set the marker of this node, whatever it was, and store the fingerprint of this database."""
        ...

    async def is_other_database(self) -> bool:
        """Whether the stored fingerprint is that of another database, or of another timeline of this one."""
        ...

    async def discard_keys(self, after_id: UUID, limit: int, now: datetime) -> UUID | None:
        """Discard all one-time keys of at most `limit` accounts with ids after this one, and notify their devices; returns the last id, None at the end."""
        ...

    async def record_discard(self, operator: str, reason: str, now: datetime) -> None:
        """Write to the audit log that all one-time keys were discarded."""
        ...


class RestoreDetector:
    """The RestoreGuard of every claim. `run` checks and replaces the markers, once for all waiting claims."""

    def __init__(self, store: MarkerStore, marker_file: MarkerFile, clock: Clock) -> None:
        self._store = store
        self._file = marker_file
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []
        self._check_requested = asyncio.Event()
        self._is_known = False
        self._discards = 0

    async def begin_claim(self) -> int:
        """Wait for the first check after the start. Returns the argument of `confirm_claim`. Raises Unavailable."""
        if not self._is_known:
            await self._wait_for_check()
        return self._discards

    async def confirm_claim(self, begun: int) -> None:
        """Replace the markers, so any copy of the database from before this call is detected.

        Raises Unavailable if the database is down, or was restored since the claim began: then the claim must not be returned.
        """
        await self._wait_for_check()
        if self._discards != begun:
            raise Unavailable("The database was restored; repeat the claim.")

    async def run(self) -> Never:
        """Check and replace the markers at the start, for every claim and each minute, until cancelled."""
        while True:
            self._check_requested.clear()
            waiting, self._waiting = self._waiting, []
            problem: Unavailable | None = None
            try:
                await self._check_and_advance()
                self._is_known = True
            except Unavailable as error:
                self._is_known, problem = False, error
            for done in waiting:
                _answer(done, problem)
            with suppress(TimeoutError):
                async with asyncio.timeout(ROTATE_SECONDS):
                    await self._check_requested.wait()

    async def _wait_for_check(self) -> None:
        """Wait for a check that begins after this call."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._check_requested.set()
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await done
        except TimeoutError:
            raise Unavailable("The claim could not be confirmed.") from None

    async def _check_and_advance(self) -> None:
        await self._file.lock()
        try:
            before, fresh = await self._file.read(), uuid4()
            is_restored = not self._is_known and await self._store.is_other_database()
            if before is not None and not is_restored:
                is_restored = not await self._advance(before, fresh)
            node, discards = (
                (before.node, before.discards + is_restored) if before else (uuid4(), self._discards + is_restored)
            )
            if is_restored and before is not None:
                # Written first: if this process dies now, the other processes of this folder still know that keys were discarded.
                await self._file.write(replace(before, discards=discards))
            if is_restored:
                await self._discard_keys()
            if before is None or is_restored:
                await self._store.reset_marker(node, fresh, self._clock.now())
            self._discards = discards
            await self._file.write(RestoreMarkers(node, fresh, None, self._discards))
        finally:
            self._file.unlock()

    async def _discard_keys(self) -> None:
        now = self._clock.now()
        log.critical("database_restored", outcome="one_time_keys_discarded")
        await discard_all_keys(self._store, now)
        await self._store.record_discard("vyry", "the database was restored to an earlier state", now)

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
    """Discard all one-time keys. It can be repeated after a crash. Raises Unavailable."""
    after: UUID | None = UUID(int=0)
    while after is not None:
        after = await store.discard_keys(after, DISCARD_BATCH, now)
