"""Sends the history to a new device, and imports it there (docs/history.md). Each step is stored: after a crash, on either side, the next opening of the profile continues."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from vyry.client.api.files import Files, ProgressCallback
from vyry.client.crypto.device_lists import DeviceList
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.errors import ClientError, FileAlreadyExists, Refused, Unreachable
from vyry.client.history.errors import ArchiveRefused, Damaged
from vyry.client.history.export import ExportOptions, HistoryExport
from vyry.client.history.importing import HistoryImport, drop_import
from vyry.client.history.reading import ArchiveReader
from vyry.client.store.events import Attachment
from vyry.client.store.history_transfer import KEEP_MS, AwaitedHistory, HistoryOffer, HistoryTransfers, SentArchive
from vyry.client.store.outgoing import Outgoing, SendQueue, hash_device
from vyry.client.store.store import Store
from vyry.client.store.uploads import translated_disk_errors, write_all
from vyry.client.transport.attachment_transfer import AttachmentTransfer
from vyry.client.transport.rest import RestClient, rate_limit_as_unreachable
from vyry.kernel.backoff import jittered
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.ids import new_id
from vyry.kernel.time import now_milliseconds
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.refusals import Refusal


#: Seconds between two looks at the own device list while a new device is awaited, and after a failure.
_LOOK_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 5.0
_MEDIA_TYPE: Final = "application/octet-stream"
#: Another try would end in the same way.
_FINAL: Final = (ArchiveRefused, Refused, Refusal)
_LOG: Final = logging.getLogger("vyry.client")


@dataclass(frozen=True, slots=True)
class ClientParts:
    """What a transfer uses of its client: the verified own device list, the moment when the mailbox is read, the lock of the store, and the sender."""

    own_devices: Callable[[UUID], Awaitable[DeviceList]]
    wait_until_drained: Callable[[], Awaitable[None]]
    lock: asyncio.Lock
    request_send: Callable[[], None]


class HistoryTransfer:
    """One for each client; `run` works in the background while the client is open."""

    def __init__(self, store: Store, rest: RestClient, files: Files, parts: ClientParts) -> None:
        self._store = store
        self._files = files
        self._attachments = AttachmentTransfer(rest)
        self._parts = parts
        self._transfers = HistoryTransfers(store)
        self._folder: Final = store.folder / "history"
        self._is_due, self._turn_done = asyncio.Event(), asyncio.Event()
        self._problem: ClientError | Refusal | None = None
        self._progress: ProgressCallback | None = None

    @property
    def is_pending(self) -> bool:
        """Whether this device has a history to send, or awaits one."""
        now = now_milliseconds()
        return self._transfers.offer(now) is not None or self._transfers.awaited(now) is not None

    def wake(self) -> None:
        """Something arrived that a transfer may wait for."""
        self._is_due.set()

    async def wait(self, progress: ProgressCallback | None = None) -> bool:
        """Return when no history is to be sent or awaited any more; returns whether one was. `progress` receives what is done and the total, in bytes. Raises what ended the transfer: ArchiveRefused, Refused, StoreFull, FileFailed."""
        self._progress, was_pending = progress, self.is_pending
        self.wake()
        while self.is_pending:
            self._turn_done.clear()
            await self._turn_done.wait()
            if self._problem is not None:
                raise self._problem
        self._progress = None
        return was_pending

    async def drop(self) -> int:
        """Give up the transfer of either side, and remove what a half import has added. Returns how many events that were."""
        with self._store.transaction():
            is_importing = self._transfers.awaited(now_milliseconds()) is not None
            self._transfers.save_offer(None)
            self._transfers.end_awaiting()
        removed = await asyncio.to_thread(drop_import, self._store) if is_importing else 0
        await asyncio.to_thread(self._delete_files)
        return removed

    async def run(self) -> None:
        """Continue whatever is pending, for ever."""
        while True:
            self._is_due.clear()
            seconds: float | None = None
            try:
                with rate_limit_as_unreachable():
                    seconds = await self._turn()
                self._problem = None
            except Unreachable as problem:
                seconds = problem.retry_after_seconds or _RETRY_SECONDS
            except (ClientError, Refusal) as problem:
                _LOG.info("history transfer stopped: %s", type(problem).__name__)
                self._problem = problem
                if isinstance(problem, _FINAL):
                    await self.drop()
            self._turn_done.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if seconds is None else jittered(seconds, 1.0, 1.25)):
                    await self._is_due.wait()

    async def _turn(self) -> float | None:
        """Do what can be done now; returns after how many seconds to look again."""
        now = now_milliseconds()
        await self._delete_sent(now)
        awaited, offer = self._transfers.awaited(now), self._transfers.offer(now)
        if awaited is not None and awaited.pointer is not None:
            await self._import(awaited, awaited.pointer)
        if offer is None:
            return None
        if offer.device is None:
            offer = await self._claimed(offer)
        if offer.device is None:
            return _LOOK_SECONDS
        await self._send(offer)
        return None

    async def _claimed(self, offer: HistoryOffer) -> HistoryOffer:
        """The offer with the device that was approved, once the verified own list has it."""
        me = LocalDevice.load(self._store).user_id
        listed = await self._parts.own_devices(me)
        new = [number for number, each in listed.devices.items() if (number, each.dh_key) not in offer.known]
        peer = listed.device(new[0]) if new else None
        if peer is None:
            return offer
        return self._save(replace(offer, device=(new[0], hash_device(peer)), until=now_milliseconds() + KEEP_MS))

    async def _send(self, offer: HistoryOffer) -> None:
        """Export, upload, and queue the pointer for the new device."""
        path = self._folder / "sent.archive"
        if not offer.is_exported:
            # What was posted before the device was linked is for this device alone: it belongs into the archive.
            await self._parts.wait_until_drained()
            await self._export(offer, path)
            offer = self._save(replace(offer, is_exported=True))
        if offer.pointer is None:
            offer = self._save(replace(offer, pointer=await self._files.upload(path, _MEDIA_TYPE, self._progress)))
        assert offer.pointer is not None
        assert offer.device is not None
        me, now = LocalDevice.load(self._store).user_id, now_milliseconds()
        sync = {"history": {"attachment": _pointer_fields(offer.pointer), "key": encode_base64(offer.key)}}
        outgoing = Outgoing.to_own_devices(Content("sync", new_id(now), now, me, {"sync": sync}), now)
        with self._store.transaction():
            SendQueue(self._store).add(replace(outgoing, device=(me, offer.device[0]), device_hash=offer.device[1]))
            self._transfers.save_offer(None)
            self._transfers.save_sent(SentArchive(offer.pointer.attachment_id, now + KEEP_MS))
        await asyncio.to_thread(self._delete_files)
        self._parts.request_send()

    async def _export(self, offer: HistoryOffer, path: Path) -> None:
        options = ExportOptions("link", offer.since, with_disappearing=True)
        export = HistoryExport(self._store, offer.key, now_milliseconds(), options)
        with translated_disk_errors("The archive"):
            await asyncio.to_thread(self._folder.mkdir, mode=0o700, exist_ok=True)
            file = await asyncio.to_thread(path.open, "wb", buffering=0)
        with file:
            async for some in export:
                await asyncio.to_thread(_write, file, some)
            await asyncio.to_thread(_sync, file)

    async def _import(self, awaited: AwaitedHistory, pointer: Attachment) -> None:
        assert awaited.key is not None
        path = self._folder / f"{pointer.attachment_id}.archive"
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, exist_ok=True)
        with suppress(FileAlreadyExists):
            await self._files.download(pointer, path, self._progress)
        with await asyncio.to_thread(path.open, "rb") as file:
            await self._import_file(ArchiveReader(file, awaited.key))
        with self._store.transaction():
            self._transfers.end_awaiting()
        await asyncio.to_thread(self._delete_files)
        with suppress(Refused, Unreachable):
            await self._attachments.delete(pointer.attachment_id)

    async def _import_file(self, reader: ArchiveReader) -> None:
        """Verify the whole archive, then import it in small transactions: mail that arrives is stored in between."""
        summary = await asyncio.to_thread(reader.verify)
        if summary.account_id != LocalDevice.load(self._store).user_id:
            raise Damaged
        total = await asyncio.to_thread(reader.file.seek, 0, 2)
        steps: Iterator[int] = HistoryImport(self._store, reader, summary).steps(now_milliseconds())
        done: int | None = 0
        while done is not None:
            async with self._parts.lock:
                done = await asyncio.to_thread(next, steps, None)
            if done is not None and self._progress is not None:
                self._progress(done, total)

    async def _delete_sent(self, now: int) -> None:
        """Delete the archive on the node a day after it was sent, if the new device has not."""
        sent = self._transfers.sent()
        if sent is not None and now > sent.until:
            with suppress(Refused):
                await self._attachments.delete(sent.attachment_id)
            self._transfers.save_sent(None)

    def _save(self, offer: HistoryOffer) -> HistoryOffer:
        self._transfers.save_offer(offer)
        return offer

    def _delete_files(self) -> None:
        for each in self._folder.glob("*"):
            each.unlink(missing_ok=True)


def _pointer_fields(pointer: Attachment) -> dict[str, object]:
    """The closed schema of the archive: without a name."""
    return replace(pointer, file_name=None, look={}).as_json()


def _write(file: BinaryIO, some: bytes) -> None:
    with translated_disk_errors("The archive"):
        write_all(file, some)


def _sync(file: BinaryIO) -> None:
    with translated_disk_errors("The archive"):
        os.fsync(file.fileno())
