"""Everything that a device stores, in one SQLite file: each value is sealed with AES-256-GCM under a key that is not in it, and every step is one transaction.

A message and the ratchet state behind it are committed together, before the envelope is acknowledged: a crash at any moment loses and duplicates nothing.
"""

import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vyry.client.errors import StoreLocked
from vyry.client.store import kinds
from vyry.client.store.database import Database, lock_store
from vyry.client.store.row_checksum import RowChecksum
from vyry.signal_protocol.primitives import Z32, hkdf, label


KEY_BYTES: Final = 32
DAY_MS: Final = 86_400_000
_NONCE_BYTES: Final = 12


class ValueCipher:
    """Seals each value to its row: moved to another row it does not open. Raises StoreLocked for an invalid key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise StoreLocked(f"The store key must have {KEY_BYTES} bytes.")
        # Fixed strings of the stored format: each derives one key.
        self._name_key = hkdf(Z32, key, label("store places"), KEY_BYTES)
        self._aead = AESGCM(hkdf(Z32, key, label("store values"), KEY_BYTES))

    def row_name(self, kind: str, name: str) -> bytes:
        """A name as stored: names are users and messages, which someone who reads the file without the key must not learn."""
        return hmac.digest(self._name_key, f"{kind}\0{name}".encode(), "sha256")[:16]

    def seal(self, value: bytes, row: bytes) -> bytes:
        """The sealed form of a value, bound to its row."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, value, row)

    def open(self, sealed: bytes, row: bytes) -> bytes:
        """The value that was sealed for that row. Raises StoreLocked."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row)
        except (InvalidTag, ValueError):
            raise StoreLocked("The key or passphrase of this profile is wrong.") from None


class Store(Database):
    """The values of a device in its file. It belongs to one process, and one caller at a time uses it."""

    def __init__(self, path: Path, key: bytes | Callable[[], bytes], lock: IO[bytes] | None = None) -> None:
        """Open the file under this key, or the one that the function returns once this process has the lock: `lock`, when it was taken before (api/profile_lock.py). Raises StoreLocked, StoreFull, StoreFailed."""
        #: Called, from any thread, for each pending event (`Journal.add`).
        self.on_event_added: Callable[[], object] = lambda: None
        lock = lock or lock_store(path)
        try:
            key = key if isinstance(key, bytes) else key()
            self.cipher: Final = ValueCipher(key)
            super().__init__(path, lock, RowChecksum(hkdf(Z32, key, label("store rows"), KEY_BYTES)))
        except BaseException:
            lock.close()
            raise
        try:
            self._initialize()
        except BaseException:
            self.close()
            raise

    def get(self, kind: str, name: str = "") -> bytes | None:
        """The value of that name, or None."""
        row = self.cipher.row_name(kind, name)
        found = self.execute("SELECT sealed FROM value WHERE kind = ? AND name = ?", kind, row)
        return self.cipher.open(found[0][0], row) if found else None

    def all(self, kind: str) -> list[bytes]:
        """Every value of that kind."""
        found = self.execute("SELECT sealed, name FROM value WHERE kind = ?", kind)
        return [self.cipher.open(sealed, row) for sealed, row in found]

    def put(self, kind: str, name: str, value: bytes | None, *, until: int | None = None) -> None:
        """Store the value, replacing an earlier one, until the second midnight (UTC) after `until` (ms since 1970) at the earliest; None deletes it."""
        row = self.cipher.row_name(kind, name)
        if value is None:
            self.execute("DELETE FROM value WHERE kind = ? AND name = ?", kind, row)
            return
        # A whole day, so that the file does not reveal when a message was sent.
        day = None if until is None else until // DAY_MS + 1
        sealed = self.cipher.seal(value, row)
        self.execute(
            "INSERT OR REPLACE INTO value (kind, name, sealed, until) VALUES (?, ?, ?, ?)", kind, row, sealed, day
        )

    def next_number(self, kind: str) -> int:
        """The next number of this counter, from 1 on; inside the transaction of the caller."""
        number = int(self.get(kind) or b"0") + 1
        self.put(kind, "", str(number).encode())
        return number

    def delete_expired(self, now: int) -> None:
        """Delete values and events that have expired."""
        with self.transaction():
            self.execute("DELETE FROM value WHERE until < ?", now // DAY_MS)
            self.execute("DELETE FROM event WHERE ends_at < ?", now)
            self.truncate_wal()

    def _initialize(self) -> None:
        """Create a new file, or check the rows of an existing one."""
        if self._is_new():
            with self.transaction():
                self._create()
                self._install_triggers()
                self.put(kinds.CHECK, "", b"vyry")
            return
        # Raises StoreLocked under a wrong key, which would find no name.
        self.all(kinds.CHECK)
        self._check_rows()
        self._install_triggers()
