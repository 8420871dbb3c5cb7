"""The transfer of a history to a new device, as each side stores it until it is complete: what a device has offered, and what a new device awaits."""

from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from vyry.client.store import kinds
from vyry.client.store.events import Attachment
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store


#: Milliseconds in which an approved device may connect, and for which the node stores its history.
CLAIM_MS: Final = 900_000
KEEP_MS: Final = DAY_MS


@dataclass(frozen=True, slots=True)
class HistoryOffer:
    """A history for a device that this device approved: the key of its archive, the own devices before it (id and key), and how far the transfer has come.

    `since`: contents from this moment on (ms since 1970); `device`: the new device and a hash of its keys, once it is listed; `pointer`: the uploaded archive.
    """

    key: bytes = field(repr=False)
    known: tuple[tuple[int, bytes], ...]
    until: int
    since: int | None = None
    device: tuple[int, bytes] | None = None
    is_exported: bool = False
    pointer: Attachment | None = None


@dataclass(frozen=True, slots=True)
class AwaitedHistory:
    """A history that the approving device has promised until `until`: its archive and the key of that, once they arrived."""

    until: int
    pointer: Attachment | None = None
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SentArchive:
    """An archive on the node, and when it is deleted there (ms since 1970)."""

    attachment_id: UUID
    until: int


class HistoryTransfers:
    """Reads and writes them, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def offer(self, now: int) -> HistoryOffer | None:
        """The offer that is not complete; one that no device claimed in time is none."""
        packed = self._store.get(kinds.HISTORY_OFFER)
        offer = unpack(HistoryOffer, packed) if packed is not None else None
        return offer if offer is not None and now <= offer.until else None

    def save_offer(self, offer: HistoryOffer | None) -> None:
        """Store it; None ends it."""
        self._store.put(kinds.HISTORY_OFFER, "", None if offer is None else pack(offer))

    def awaited(self, now: int) -> AwaitedHistory | None:
        """The history that this device awaits, or is importing."""
        packed = self._store.get(kinds.HISTORY_AWAITED)
        awaited = unpack(AwaitedHistory, packed) if packed is not None else None
        return awaited if awaited is not None and (awaited.pointer is not None or now <= awaited.until) else None

    def await_until(self, until: int) -> None:
        """The approving device has promised a history."""
        self._store.put(kinds.HISTORY_AWAITED, "", pack(AwaitedHistory(until)))

    def accept(self, pointer: Attachment, key: bytes, now: int) -> None:
        """Record the offer of an archive. Ignored when no archive is awaited, or another one was offered before."""
        awaited = self.awaited(now)
        if awaited is not None and awaited.pointer is None:
            self._store.put(kinds.HISTORY_AWAITED, "", pack(replace(awaited, pointer=pointer, key=key)))

    def end_awaiting(self) -> None:
        """The history was imported or given up."""
        self._store.put(kinds.HISTORY_AWAITED, "", None)

    def sent(self) -> SentArchive | None:
        """The archive that this device sent last, while it is on the node."""
        packed = self._store.get(kinds.HISTORY_SENT)
        return unpack(SentArchive, packed) if packed is not None else None

    def save_sent(self, sent: SentArchive | None) -> None:
        """Store it; None: it was deleted."""
        self._store.put(kinds.HISTORY_SENT, "", None if sent is None else pack(sent))
