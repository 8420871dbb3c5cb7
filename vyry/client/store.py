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

from vyry.client.refusals import StoreFailed, StoreFull, StoreLocked


KEY_BYTES: Final = 32
DAY: Final = 86_400_000
_NONCE: Final = 12
#: The first value of every store: it says whether a key is the right one.
_CHECK: Final = "check"
#: A savepoint inside another has the same name: SQLite takes the innermost.
_ATTEMPT: Final = "attempt"
_SCHEMA: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "CREATE TABLE IF NOT EXISTS value (kind TEXT NOT NULL, name BLOB NOT NULL, sealed BLOB NOT NULL, until INTEGER, PRIMARY KEY (kind, name)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS value_until ON value (until) WHERE until IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY AUTOINCREMENT, is_taken INTEGER NOT NULL DEFAULT 0, sealed BLOB NOT NULL, place BLOB, ends_at INTEGER)",
    "CREATE INDEX IF NOT EXISTS event_waiting ON event (id) WHERE is_taken = 0",
    "CREATE INDEX IF NOT EXISTS event_place ON event (place, id) WHERE place IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS event_end ON event (ends_at) WHERE ends_at IS NOT NULL",
)


def file_key(path: Path) -> bytes:
    """The key in this file, which is made (0600) when it is not there. Raises StoreLocked when others can read it."""
    key = private_file(path, KEY_BYTES)
    if len(key) != KEY_BYTES:
        raise StoreLocked(f"{path} is no key of {KEY_BYTES} bytes.")
    return key


def private_file(path: Path, size: int) -> bytes:
    """What lies in this file of its owner's alone; when it is not there, so many random bytes. Raises StoreLocked."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(size))
            file.flush()
            os.fsync(descriptor)
    if path.stat().st_mode & 0o077:
        raise StoreLocked(f"{path} can be read by others: run `chmod 600 {path}`.")
    return path.read_bytes()


def passphrase_key(passphrase: str, salt: bytes) -> bytes:
    """The key that a passphrase makes with this salt: Argon2id, 64 MiB, 3 rounds (RFC 9106 section 4)."""
    return hash_secret_raw(passphrase.encode(), salt, 3, 65_536, 4, KEY_BYTES, Type.ID)


class Box:
    """Seals values, each to its place: moved to another one it does not open."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seal = AESGCM(key)

    def place(self, kind: str, name: str) -> bytes:
        """A name as it stands in the file: names are users and messages, and who reads the file without the key shall not learn them."""
        return hmac.digest(self._key, f"{kind}\0{name}".encode(), "sha256")[:16]

    def seal(self, value: bytes, place: bytes) -> bytes:
        """As it is written."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._seal.encrypt(nonce, value, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """What was sealed for that place. Raises StoreLocked."""
        try:
            return self._seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
        except InvalidTag:
            raise StoreLocked("The key does not open this profile.") from None


class Store:
    """One open file. It belongs to one process, and inside it to one caller at a time."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.folder: Final = path.parent
        self._lock = _locked(path)
        #: Whoever is inside a transaction is alone: nobody sees what may still be undone.
        self._turn = threading.RLock()
        self.box: Final = Box(key)
        try:
            with _named(path.parent):
                self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                path.chmod(0o600)
        except BaseException:
            self._lock.close()
            raise
        try:
            for statement in _SCHEMA:
                self.rows(statement)
            self._check_key()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, once the act that is under way in another thread is over."""
        with self._turn:
            self._database.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is put and deleted inside is there afterwards, or, when the block fails, nothing of it. Raises StoreFull, StoreFailed."""
        with self._turn:
            if self._is_inside():
                # A part of the act around it: it stands and falls with that.
                yield
                return
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                if self._is_inside():
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Part of a transaction that can fail alone: an error of the block undoes what was done inside it, and the caller that catches it goes on.

        Outside a transaction it is one. Raises StoreFull, StoreFailed, after which the whole transaction is to be given up: SQLite may have undone it.
        """
        with self.transaction():
            self.rows(f"SAVEPOINT {_ATTEMPT}")
            try:
                yield
            except BaseException:
                if self._is_inside():
                    self.rows(f"ROLLBACK TO {_ATTEMPT}")
                    self.rows(f"RELEASE {_ATTEMPT}")
                raise
            self.rows(f"RELEASE {_ATTEMPT}")

    def get(self, kind: str, name: str = "") -> bytes | None:
        """The value of that name, if there is one."""
        place = self.box.place(kind, name)
        found = self.rows("SELECT sealed FROM value WHERE kind = ? AND name = ?", kind, place)
        return self.box.open(found[0][0], place) if found else None

    def all(self, kind: str) -> list[bytes]:
        """Every value of that kind."""
        found = self.rows("SELECT sealed, name FROM value WHERE kind = ?", kind)
        return [self.box.open(sealed, place) for sealed, place in found]

    def put(self, kind: str, name: str, value: bytes | None, *, until: int | None = None) -> None:
        """Keep the value in the place of what was there, until `sweep` is told of a later moment (ms since 1970); None deletes it."""
        place = self.box.place(kind, name)
        if value is None:
            self.rows("DELETE FROM value WHERE kind = ? AND name = ?", kind, place)
            return
        # A whole day, so that the file tells no one when something was said.
        day = None if until is None else until // DAY + 1
        sealed = self.box.seal(value, place)
        self.rows(
            "INSERT OR REPLACE INTO value (kind, name, sealed, until) VALUES (?, ?, ?, ?)", kind, place, sealed, day
        )

    def sweep(self, now: int) -> None:
        """Delete what has had its time."""
        self.rows("DELETE FROM value WHERE until < ?", now // DAY)
        self.rows("DELETE FROM event WHERE ends_at < ?", now)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement answers. Raises StoreFull, StoreFailed."""
        with self._turn, _named(None):
            return self._database.execute(statement, values).fetchall()

    def _is_inside(self) -> bool:
        """Whether an act is under way."""
        return self._database.in_transaction

    def _check_key(self) -> None:
        with self.transaction():
            if self.get(_CHECK) is None:
                for sealed, place in self.rows("SELECT sealed, name FROM value LIMIT 1"):
                    self.box.open(sealed, place)
                self.put(_CHECK, "", b"vyry")


#: All but the first are what a quota looks like.
_NO_ROOM: Final = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMOPEN")


@contextmanager
def _named(folder: Path | None) -> Iterator[None]:
    """What SQLite says about the file, in one clear line."""
    try:
        yield
    except sqlite3.Error as failed:
        where = f" of {folder}" if folder else ""
        if getattr(failed, "sqlite_errorname", "") in _NO_ROOM:
            raise StoreFull(
                f"The disk{where} is full, or takes no more of you: what is kept is whole, but nothing more can be kept."
            ) from None
        raise StoreFailed(
            f"The store{where} cannot be used ({failed}; {getattr(failed, 'sqlite_errorname', '')})."
        ) from None


def _locked(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StoreLocked(f"Another process works with {path.parent}.") from None
    return file
