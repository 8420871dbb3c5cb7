"""Everything a device keeps, in one SQLite file: each value sealed with AES-256-GCM under a key that does not lie in it, and every act one transaction.

What an envelope said and the ratchet behind it are committed together, before the envelope is acknowledged: a kill at any moment loses and doubles nothing.
"""

import fcntl
import hmac
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Self

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vyry.client.refusals import StoreLocked


KEY_BYTES: Final = 32
_NONCE: Final = 12
_EVENT: Final = b"event"
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS value (kind TEXT NOT NULL, name BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY AUTOINCREMENT, is_taken INTEGER NOT NULL DEFAULT 0, sealed BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS event_waiting ON event (id) WHERE is_taken = 0",
)


def file_key(path: Path) -> bytes:
    """The key in this file, which is made (0600) when it is not there. Raises StoreLocked when others can read it."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(descriptor)
    if path.stat().st_mode & 0o077:
        raise StoreLocked(f"{path} can be read by others: run `chmod 600 {path}`.")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StoreLocked(f"{path} is no key of {KEY_BYTES} bytes.")
    return key


def passphrase_key(passphrase: str, salt: bytes) -> bytes:
    """The key that a passphrase makes with this salt: Argon2id, 64 MiB, 3 rounds (RFC 9106 section 4)."""
    return hash_secret_raw(passphrase.encode(), salt, 3, 65_536, 4, KEY_BYTES, Type.ID)


class Store:
    """One open file. It belongs to one process, and inside it to one caller at a time."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._lock = _locked(path)
        #: Whoever is inside a transaction is alone: nobody sees what may still be undone.
        self._turn = threading.RLock()
        self._key = key
        self._seal = AESGCM(key)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA secure_delete = ON",
            *_SCHEMA,
        ):
            self._database.execute(statement)
        path.chmod(0o600)
        try:
            self._check_key()
        except StoreLocked:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is put and deleted inside is there afterwards, or, when the block fails, nothing of it."""
        with self._turn:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def get(self, kind: str, name: str = "") -> bytes | None:
        """The value of that name, if there is one."""
        place = self._place(kind, name)
        found = self._run("SELECT sealed FROM value WHERE kind = ? AND name = ?", kind, place)
        return self._open(found[0][0], place) if found else None

    def all(self, kind: str) -> list[bytes]:
        """Every value of that kind."""
        found = self._run("SELECT sealed, name FROM value WHERE kind = ?", kind)
        return [self._open(sealed, place) for sealed, place in found]

    def put(self, kind: str, name: str, value: bytes | None) -> None:
        """Keep the value in the place of what was there; None deletes it."""
        place = self._place(kind, name)
        if value is None:
            self._run("DELETE FROM value WHERE kind = ? AND name = ?", kind, place)
        else:
            sealed = self._sealed(value, place)
            self._run("INSERT OR REPLACE INTO value (kind, name, sealed) VALUES (?, ?, ?)", kind, place, sealed)

    def add_event(self, value: bytes) -> None:
        """Add to what waits to be taken."""
        self._run("INSERT INTO event (sealed) VALUES (?)", self._sealed(value, _EVENT))

    def next_event(self) -> tuple[int, bytes] | None:
        """The oldest event nobody has taken yet, and its number."""
        found = self._run("SELECT id, sealed FROM event WHERE is_taken = 0 ORDER BY id LIMIT 1")
        return (found[0][0], self._open(found[0][1], _EVENT)) if found else None

    def take_event(self, number: int) -> None:
        """Whoever asked for the event is done with it."""
        self._run("UPDATE event SET is_taken = 1 WHERE id = ?", number)

    def _run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._turn:
            return self._database.execute(statement, values).fetchall()

    def _place(self, kind: str, name: str) -> bytes:
        # Names are users and prekeys: who reads the file without the key shall not learn them.
        return hmac.digest(self._key, f"{kind}\0{name}".encode(), "sha256")[:16]

    def _sealed(self, value: bytes, place: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._seal.encrypt(nonce, value, place)

    def _open(self, sealed: bytes, place: bytes) -> bytes:
        try:
            return self._seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
        except InvalidTag:
            raise StoreLocked("The key does not open this profile.") from None

    def _check_key(self) -> None:
        for sealed, place in self._run("SELECT sealed, name FROM value LIMIT 1"):
            self._open(sealed, place)


def _locked(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StoreLocked(f"Another process works with {path.parent}.") from None
    return file
