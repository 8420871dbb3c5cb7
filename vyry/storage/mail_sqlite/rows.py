"""Rows of the mail tables on SQLite: how values are stored, and what must change when an envelope loses its content."""

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.store import CopyState
from vyry.storage.statements import load_statements


_SQL: Final = load_statements("mail_sqlite/rows.sql")
#: The states of table fate.
STATE_NUMBERS: Final = {CopyState.ACKNOWLEDGED: 1, CopyState.EXPIRED: 2, CopyState.DROPPED: 3}
STATES_BY_NUMBER: Final = {number: state for state, number in STATE_NUMBERS.items()}


def json_list(values: Iterable[int] | Iterable[str] | Iterable[tuple[int, int]]) -> str:
    """A list as one parameter: with `IN (SELECT value FROM json_each(?))` the text of a statement does not depend on the length of the list."""
    return orjson.dumps(list(values)).decode()


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Encode as big-endian 8-byte integers."""
    return struct.pack(f">{len(numbers)}q", *numbers)


def unpack_numbers(packed: bytes) -> list[int]:
    """Decode the bytes of `pack_numbers`."""
    return list(struct.unpack(f">{len(packed) // 8}q", packed))


@dataclass(frozen=True, slots=True)
class RemovedEnvelope:
    """An envelope that loses its content."""

    number: int
    mailbox: MailboxKey
    content: int
    lane: int
    size: int
    #: The sender in whose share it counts (`mailbox_share`), or None.
    share: str | None


def mark_lost(connection: sqlite3.Connection, envelopes: Sequence[RemovedEnvelope], loss: LossReason, at: int) -> None:
    """Turn numbered envelopes into losses, which keep number and chain head."""
    connection.executemany(_SQL["mark_lost"], [(int(loss), each.number) for each in envelopes])
    free_capacity(connection, envelopes)
    release_contents(connection, envelopes)
    record_fates(connection, envelopes, CopyState.EXPIRED if loss is LossReason.EXPIRED else CopyState.DROPPED, at)


def count_shares(connection: sqlite3.Connection, envelopes: Iterable[RemovedEnvelope]) -> None:
    """Add newly numbered envelopes to the shares of their senders."""
    connection.executemany(
        _SQL["increase_share"], [(*of, entries, size) for of, (entries, size) in _shares(envelopes).items()]
    )


def _shares(envelopes: Iterable[RemovedEnvelope]) -> dict[tuple[MailboxKey, str, int], tuple[int, int]]:
    found: dict[tuple[MailboxKey, str, int], tuple[int, int]] = {}
    for each in envelopes:
        if each.share is not None:
            entries, size = found.get((each.mailbox, each.share, each.lane), (0, 0))
            found[each.mailbox, each.share, each.lane] = entries + 1, size + each.size
    return found


def free_capacity(connection: sqlite3.Connection, envelopes: Sequence[RemovedEnvelope]) -> None:
    """Subtract envelopes from the lanes of their mailboxes and from the shares of their senders."""
    if shares := _shares(envelopes):
        connection.executemany(_SQL["decrease_share"], [(*held, *of) for of, held in shares.items()])
        connection.executemany(_SQL["delete_empty_share"], list(shares))
    entries: Counter[tuple[MailboxKey, int]] = Counter()
    sizes: Counter[tuple[MailboxKey, int]] = Counter()
    for each in envelopes:
        entries[each.mailbox, each.lane] += 1
        sizes[each.mailbox, each.lane] += each.size
    connection.executemany(
        _SQL["decrease_lanes"],
        [
            (*(count[box, lane] for lane in Lane for count in (entries, sizes)), box)
            for box in {mailbox for mailbox, _ in entries}
        ],
    )


def release_contents(connection: sqlite3.Connection, envelopes: Iterable[RemovedEnvelope]) -> None:
    """Subtract copies from contents, and delete the contents that have none left."""
    copies = Counter(each.content for each in envelopes)
    if connection.executemany(_SQL["delete_content"], copies.items()).rowcount < len(copies):
        connection.executemany(_SQL["decrease_copies"], [(count, content) for content, count in copies.items()])


def record_fates(
    connection: sqlite3.Connection, envelopes: Iterable[RemovedEnvelope], state: CopyState, at: int
) -> None:
    """Store the final state of envelopes, one row a mailbox."""
    numbers: dict[MailboxKey, list[int]] = {}
    for each in envelopes:
        numbers.setdefault(each.mailbox, []).append(each.number)
    connection.executemany(
        _SQL["insert_fate"],
        [(mailbox, at, STATE_NUMBERS[state], pack_numbers(some)) for mailbox, some in numbers.items()],
    )
