"""What envelopes leave behind on SQLite: a fate for their sender, a body less, room in their mailbox."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vyry.adapters.sqlite_columns import pack_numbers
from vyry.ids import MailboxKey
from vyry.mail.envelope import Lane, Loss
from vyry.mail.store import CopyState


#: The states of table fate.
FATES: Final = {CopyState.ACKNOWLEDGED: 1, CopyState.EXPIRED: 2, CopyState.DROPPED: 3}
STATES: Final = {number: state for state, number in FATES.items()}
#: What `Gone` is read from.
GONE: Final = "id, mailbox, content, lane, size"

_FATE: Final = "INSERT INTO fate (mailbox, at, state, numbers) VALUES (?, ?, ?, ?)"
_LAST_READER: Final = "DELETE FROM content WHERE id = ? AND copies <= ?"
_ONE_OF_MANY: Final = "UPDATE content SET copies = copies - ? WHERE id = ?"
_LOSE: Final = "UPDATE envelope SET loss = ? WHERE id = ?"
_MAKE_ROOM: Final = """
UPDATE mailbox SET mail_entries = mail_entries - ?, mail_bytes = mail_bytes - ?,
  control_entries = control_entries - ?, control_bytes = control_bytes - ? WHERE id = ?"""


@dataclass(frozen=True, slots=True)
class Gone:
    """An envelope whose content is needed no more."""

    number: int
    mailbox: MailboxKey
    content: int
    lane: int
    size: int


def lose(connection: sqlite3.Connection, envelopes: Sequence[Gone], loss: Loss, at: int) -> None:
    """Turn numbered envelopes into losses: number and head stay."""
    connection.executemany(_LOSE, [(int(loss), each.number) for each in envelopes])
    make_room(connection, envelopes)
    release(connection, envelopes)
    note(connection, envelopes, CopyState.EXPIRED if loss is Loss.EXPIRED else CopyState.DROPPED, at)


def make_room(connection: sqlite3.Connection, envelopes: Iterable[Gone]) -> None:
    """These count against no cap any more."""
    entries: Counter[tuple[MailboxKey, int]] = Counter()
    sizes: Counter[tuple[MailboxKey, int]] = Counter()
    for each in envelopes:
        entries[each.mailbox, each.lane] += 1
        sizes[each.mailbox, each.lane] += each.size
    connection.executemany(
        _MAKE_ROOM,
        [
            (*(count[box, lane] for lane in Lane for count in (entries, sizes)), box)
            for box in {mailbox for mailbox, _ in entries}
        ],
    )


def release(connection: sqlite3.Connection, envelopes: Iterable[Gone]) -> None:
    """Delete the bodies whose last copy this was; the others have so many copies less."""
    copies = Counter(each.content for each in envelopes)
    if connection.executemany(_LAST_READER, copies.items()).rowcount < len(copies):
        connection.executemany(_ONE_OF_MANY, [(count, content) for content, count in copies.items()])


def note(connection: sqlite3.Connection, envelopes: Iterable[Gone], state: CopyState, at: int) -> None:
    """Write down what became of these, one row a mailbox."""
    numbers: dict[MailboxKey, list[int]] = {}
    for each in envelopes:
        numbers.setdefault(each.mailbox, []).append(each.number)
    connection.executemany(
        _FATE, [(mailbox, at, FATES[state], pack_numbers(inside)) for mailbox, inside in numbers.items()]
    )
