"""A checksum of the rows of a store: at opening it shows whether rows were restored, added, changed or removed while the store was closed.

Each row has a MAC under a key of the store; the checksum is their XOR, kept in memory while the store is open. In the same transaction a MAC of the checksum is written beside the rows: it reveals nothing
about the checksum itself, so nobody can compute which other rows would match it. Single rows of an older file match no checksum; only all of them together do, which is a copy of the whole file.
"""

import hmac
from typing import Final


#: Not counted, because every message adds rows of these and all counted rows are read at opening: messages that were seen (a row removed: one is shown again if it is sent again), and what was sent
#: in the last week (a row restored: it can be requested again). See store/kinds.py.
_UNCOUNTED: Final = "('said', 'sent', 'sent place')"
_NAME: Final = "count_row"


def _value_columns(row: str) -> str:
    """The columns of a row of `value` that count: nonce and tag represent the sealed bytes."""
    return f"{_NAME}('value', {row}kind, {row}name, {row}until, substr({row}sealed, 1, 12), substr({row}sealed, -16))"


def _event_columns(row: str) -> str:
    """The columns of a row of `event` that count."""
    return f"{_NAME}('event', {row}id, {row}is_taken, {row}place, {row}ends_at, substr({row}sealed, 1, 12), substr({row}sealed, -16))"


def _is_counted(row: str) -> str:
    """Rows of `event` that count: pending ones and expiring ones. So the checksum is verified without reading the whole history."""
    return f"({row}is_taken = 0 OR {row}ends_at IS NOT NULL)"


def _trigger(act: str, table: str, row: str, condition: str, counted: str) -> str:
    name = f"{table}_{act}_{row.strip('.')}".lower()
    return f"CREATE TEMP TRIGGER {name} AFTER {act} ON {table} WHEN {condition} BEGIN SELECT {counted}; END"  # nosemgrep: sql-only-from-constants - words of this file


def _count_statement(counted: str, table: str, condition: str) -> str:
    return f"SELECT count({counted}) FROM {table} WHERE {condition}"  # noqa: S608  # nosec B608  # nosemgrep: sql-only-from-constants - words of this file


_ROWS: Final = (("INSERT", "NEW."), ("DELETE", "OLD."), ("UPDATE", "OLD."), ("UPDATE", "NEW."))
#: A changed row is removed from the checksum and added again. In TEMP, for this connection alone: a trigger in the file could be written by any program that can write the file.
TRIGGERS: Final = (
    *(_trigger(act, "value", row, f"{row}kind NOT IN {_UNCOUNTED}", _value_columns(row)) for act, row in _ROWS),
    *(_trigger(act, "event", row, _is_counted(row), _event_columns(row)) for act, row in _ROWS),
)
#: Count every row.
COUNT_STATEMENTS: Final = (
    _count_statement(_value_columns(""), "value", f"kind NOT IN {_UNCOUNTED}"),
    # Each uses its own index.
    _count_statement(_event_columns(""), "event", "is_taken = 0"),
    _count_statement(_event_columns(""), "event", "is_taken <> 0 AND ends_at IS NOT NULL"),
)
SQL_FUNCTION: Final = _NAME


class RowChecksum:
    """The checksum of all counted rows."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.value = 0

    def toggle(self, *columns: object) -> None:
        """Add a row, or remove one that was added. SQLite calls it for each row."""
        self.value ^= int.from_bytes(hmac.digest(self._key, repr(columns).encode(), "sha256"))

    def mac(self) -> bytes:
        """What is written beside the rows. No row begins like this: a row begins with a bracket."""
        return hmac.digest(self._key, b"sum" + self.value.to_bytes(32), "sha256")
