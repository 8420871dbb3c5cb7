"""Backups: the history as one sealed file, and a file restored into this profile (docs/history.md)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vyry.client.errors import FileAlreadyExists, FileFailed, Refused, StoreFull, Unreachable
from vyry.client.history.export import HistoryExport
from vyry.client.history.importing import HistoryImport, drop_import, pending_import
from vyry.client.history.reading import ArchiveReader, Progress
from vyry.client.history.sealing import new_recovery_key, read_recovery_key, show_recovery_key
from vyry.client.store import kinds
from vyry.client.store.database import DISK_FULL_ERRNOS
from vyry.client.store.store import Store
from vyry.kernel.atomic_files import open_new_file


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup that was written: how many of each it holds, and its bytes. `left_out`: events that no backup holds."""

    messages: int
    conversations: int
    contacts: int
    left_out: int
    size: int


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A backup that was restored: how many events were added, and how many this profile had."""

    added: int
    known: int


class Backups:
    """Call it to write a backup: `await client.backup(path)`."""

    def __init__(self, store: Store, refresh_titles: Callable[[], Awaitable[object]], now: Callable[[], int]) -> None:
        self._store = store
        self._refresh_titles = refresh_titles
        self._now = now

    async def __call__(
        self, path: Path, key: str | None = None, *, overwrite: bool = False, progress: Progress | None = None
    ) -> BackupResult:
        """Write the history, contacts and group titles to a new file (0600), sealed under `key`, else under the key that the profile keeps (`recovery_key`).

        The file appears when it is complete. Raises MistypedKey, FileFailed, FileAlreadyExists, StoreFull, NotRegistered.
        """
        secret = read_recovery_key(key or self.recovery_key())
        # Titles are sealed on the node.
        with suppress(Refused, Unreachable):
            await self._refresh_titles()
        export = HistoryExport(self._store, secret, self._now())
        with _translated_errors(path), open_new_file(path, replaces=overwrite) as file:
            async for part in export:
                await asyncio.to_thread(file.write, part)
                if progress is not None:
                    progress(export.done, export.total)
            size = file.tell()
        end = export.end
        assert end is not None
        return BackupResult(end.messages, end.conversations, end.contacts, export.left_out, size)

    def kept_key(self) -> str | None:
        """The recovery key of the backups of this profile; None before the first."""
        kept = self._store.get(kinds.RECOVERY_KEY)
        return None if kept is None else show_recovery_key(kept)

    def recovery_key(self) -> str:
        """As `kept_key`; a new one is made and kept if there is none."""
        kept = self.kept_key()
        if kept is None:
            kept = self.new_key()
            self.keep_key(kept)
        return kept

    def new_key(self) -> str:
        """A new recovery key, 256 random bits. It is not kept yet."""
        return show_recovery_key(new_recovery_key())

    def keep_key(self, key: str) -> None:
        """Seal later backups under this key. Raises MistypedKey."""
        self._store.put(kinds.RECOVERY_KEY, "", read_recovery_key(key))


class Restores:
    """Call it to restore a backup: `await client.restore(path, key)`."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def __call__(self, path: Path, key: str, *, progress: Progress | None = None) -> RestoreResult:
        """Verify the whole file, then add what this profile does not have. After a crash the same call goes on; nothing is doubled.

        Raises ArchiveRefused (nothing was written), ImportPending, MistypedKey, FileFailed, NotRegistered, StoreFull.
        """
        secret = read_recovery_key(key)
        with _translated_errors(path), path.open("rb") as file:
            return await self.read(file, secret, progress)

    async def read(self, file: BinaryIO, key: bytes, progress: Progress | None = None) -> RestoreResult:
        """As the call, from an open file and with the bytes of the key."""
        reader = ArchiveReader(file, key)
        total = file.seek(0, 2)
        # Half of the work is to verify, half to import.
        shown = (lambda done, _: progress(done, 2 * total)) if progress is not None else None
        running = HistoryImport(self._store, reader, await asyncio.to_thread(reader.verify, shown))
        steps = running.steps(self._now())
        while (done := await asyncio.to_thread(next, steps, None)) is not None:
            if progress is not None:
                progress(total + done, 2 * total)
        return RestoreResult(running.state.added, running.state.known)

    @property
    def is_pending(self) -> bool:
        """Whether a restore is not finished: call it again with its file, or `drop`."""
        return pending_import(self._store) is not None

    async def drop(self) -> int:
        """Remove everything that the restore that is not finished has added. Returns how many events that were."""
        return await asyncio.to_thread(drop_import, self._store)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Turns errors of the file system into one line. Raises FileAlreadyExists, StoreFull, FileFailed."""
    try:
        yield
    except FileExistsError:
        raise FileAlreadyExists(f"{path} exists: give another name, or overwrite it (--overwrite).") from None
    except BlockingIOError:
        raise FileFailed(f"Another backup to {path} is running: wait for it.") from None
    except OSError as failed:
        if failed.errno in DISK_FULL_ERRNOS:
            raise StoreFull(
                f"The disk of {path} is full, or your disk quota is exhausted: nothing was written."
            ) from None
        raise FileFailed(f"Cannot use {path} ({failed.strerror}).") from None
