"""A sum over the rows of a store: at opening it shows whether rows were put back, added, changed or removed while the store was closed.

Each row has its MAC under a key of the store; the sum is their XOR, kept in memory while the store is open. What is written beside the rows, in the same transaction, is a MAC of the sum: it tells nothing
about the sum itself, so which other rows would fit it cannot be computed. Single rows of an older file therefore fit no sum; only all of them together do, which is a copy of the whole file.
"""

import hmac
from typing import Final


#: Left out, because there are rows of these for every message and all that is counted is read at opening: which messages were seen (a row removed: one is shown again if it is sent again), and what was sent
#: in the last week (a row put back: it can be asked for again).
_UNCOUNTED: Final = "('said', 'sent', 'sent place')"
_NAME: Final = "count_row"


def _value_columns(row: str) -> str:
    """What counts of a row of `value`: nonce and tag stand for all that is sealed, which opens under no other bytes."""
    return f"{_NAME}('value', {row}kind, {row}name, {row}until, substr({row}sealed, 1, 12), substr({row}sealed, -16))"


def _event_columns(row: str) -> str:
    """What counts of a row of `event`."""
    return f"{_NAME}('event', {row}id, {row}is_taken, {row}place, {row}ends_at, substr({row}sealed, 1, 12), substr({row}sealed, -16))"


def _is_counted(row: str) -> str:
    """Which rows of `event` count: those that wait, and those that end. So the sum is checked without reading the whole history."""
    return f"({row}is_taken = 0 OR {row}ends_at IS NOT NULL)"


def _trigger(act: str, table: str, row: str, condition: str, counted: str) -> str:
    name = f"{table}_{act}_{row.strip('.')}".lower()
    return f"CREATE TEMP TRIGGER {name} AFTER {act} ON {table} WHEN {condition} BEGIN SELECT {counted}; END"  # nosemgrep: sql-only-from-constants - words of this file


def _count_statement(counted: str, table: str, condition: str) -> str:
    return f"SELECT count({counted}) FROM {table} WHERE {condition}"  # noqa: S608  # nosec B608  # nosemgrep: sql-only-from-constants - words of this file


_ROWS: Final = (("INSERT", "NEW."), ("DELETE", "OLD."), ("UPDATE", "OLD."), ("UPDATE", "NEW."))
#: Whatever changes a row takes its MAC out of the sum and puts the new one in. In TEMP, for this connection alone: a trigger in the file could be written by anybody who can write the file.
TRIGGERS: Final = (
    *(_trigger(act, "value", row, f"{row}kind NOT IN {_UNCOUNTED}", _value_columns(row)) for act, row in _ROWS),
    *(_trigger(act, "event", row, _is_counted(row), _event_columns(row)) for act, row in _ROWS),
)
#: Counting every row there is.
COUNT_STATEMENTS: Final = (
    _count_statement(_value_columns(""), "value", f"kind NOT IN {_UNCOUNTED}"),
    # Each by an index of its own.
    _count_statement(_event_columns(""), "event", "is_taken = 0"),
    _count_statement(_event_columns(""), "event", "is_taken <> 0 AND ends_at IS NOT NULL"),
)
SQL_FUNCTION: Final = _NAME


class RowChecksum:
    """The sum of what was counted."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.value = 0

    def toggle(self, *columns: object) -> None:
        """Take a row in; one that is in already is taken out. SQLite calls it for each row."""
        self.value ^= int.from_bytes(hmac.digest(self._key, repr(columns).encode(), "sha256"))

    def mac(self) -> bytes:
        """What is written beside the rows. No row begins as this does: a row begins with a bracket."""
        return hmac.digest(self._key, b"sum" + self.value.to_bytes(32), "sha256")
