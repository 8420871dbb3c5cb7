"""Everything a device keeps, in one SQLite file: each value sealed with AES-256-GCM under a key that does not lie in it, and every act one transaction.

What an envelope said and the ratchet behind it are committed together, before the envelope is acknowledged: a kill at any moment loses and doubles nothing.
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
_NONCE: Final = 12


class ValueCipher:
    """Seals values, each to its place: moved to another one it does not open. Raises StoreLocked for what is no key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise StoreLocked(f"The key of a store has {KEY_BYTES} bytes.")
        self._name_key = hkdf(Z32, key, label("store places"), KEY_BYTES)
        self._aead = AESGCM(hkdf(Z32, key, label("store values"), KEY_BYTES))

    def row_name(self, kind: str, name: str) -> bytes:
        """A name as it stands in the file: names are users and messages, and who reads the file without the key shall not learn them."""
        return hmac.digest(self._name_key, f"{kind}\0{name}".encode(), "sha256")[:16]

    def seal(self, value: bytes, place: bytes) -> bytes:
        """As it is written."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, value, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """What was sealed for that place. Raises StoreLocked."""
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
        except (InvalidTag, ValueError):
            raise StoreLocked("The key does not open this profile.") from None


class Store(Database):
    """The values of a device in its file. It belongs to one process, and inside it to one caller at a time."""

    def __init__(self, path: Path, key: bytes | Callable[[], bytes], lock: IO[bytes] | None = None) -> None:
        """Open the file under this key, or under the one that is asked for once no other process has the file: `lock`, when it was taken before (turns.py). Raises StoreLocked, StoreFull, StoreFailed."""
        #: Called, from any thread, for each event that is kept for somebody who asks (`Journal.add`).
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
        """The value of that name, if there is one."""
        place = self.cipher.row_name(kind, name)
        found = self.execute("SELECT sealed FROM value WHERE kind = ? AND name = ?", kind, place)
        return self.cipher.open(found[0][0], place) if found else None

    def all(self, kind: str) -> list[bytes]:
        """Every value of that kind."""
        found = self.execute("SELECT sealed, name FROM value WHERE kind = ?", kind)
        return [self.cipher.open(sealed, place) for sealed, place in found]

    def put(self, kind: str, name: str, value: bytes | None, *, until: int | None = None) -> None:
        """Keep the value in the place of what was there, until `sweep` is told of a later moment (ms since 1970); None deletes it."""
        place = self.cipher.row_name(kind, name)
        if value is None:
            self.execute("DELETE FROM value WHERE kind = ? AND name = ?", kind, place)
            return
        # A whole day, so that the file tells no one when something was said.
        day = None if until is None else until // DAY_MS + 1
        sealed = self.cipher.seal(value, place)
        self.execute(
            "INSERT OR REPLACE INTO value (kind, name, sealed, until) VALUES (?, ?, ?, ?)", kind, place, sealed, day
        )

    def delete_expired(self, now: int) -> None:
        """Delete what has had its time."""
        with self.transaction():
            self.execute("DELETE FROM value WHERE until < ?", now // DAY_MS)
            self.execute("DELETE FROM event WHERE ends_at < ?", now)
            self.truncate_wal()

    def _initialize(self) -> None:
        """Begin a new file, or check the rows of an old one."""
        if self._is_new():
            with self.transaction():
                self._create()
                self._install_triggers()
                self.put(kinds.CHECK, "", b"vyry")
            return
        # Raises StoreLocked under a wrong key, by which no name would be found.
        self.all(kinds.CHECK)
        self._check_rows()
        self._install_triggers()
