"""Where a device lives, and what opens its store: a given key, a passphrase, the keyring of the system, or a file for its owner alone."""

import importlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, Protocol, cast

from vyry.client.errors import ClientError, InClear, NotRegistered, StoreFull, StoreLocked
from vyry.client.store import kinds
from vyry.client.store.database import DISK_FULL_ERRNOS, lock_store, other_version_text
from vyry.client.store.store import KEY_BYTES, Store
from vyry.client.store.store_key import STORE_KEY, Argon2, UnlockMethod, WrappedKey, file_key
from vyry.kernel.base64_text import decode_base64, encode_base64
from vyry.kernel.url_safety import is_confidential
from vyry.signal_protocol.primitives import label


_STORE: Final = "vyry.db"
_KEY: Final = "key"
_SERVICE: Final = "vyry"

_MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class Keyring(Protocol):
    """What the package `keyring` offers."""

    def get_password(self, service_name: str, username: str) -> str | None:
        """A secret, if it is there."""
        ...

    def set_password(self, service_name: str, username: str, password: str) -> None:
        """Keep a secret."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """Where a device lives: its folder and its node. What opens its store is `key`, else a key made of `passphrase`, else one in the keyring of the system, else a file (0600)."""

    folder: Path
    url: str
    key: bytes | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    #: Whether opening makes the profile where there is none.
    may_create: bool = True
    #: Whether a node beyond this machine may be spoken to without TLS.
    allows_clear: bool = False

    def asks_for_passphrase(self) -> bool:
        """Whether a passphrase opens this profile."""
        with suppress(StoreLocked, OSError):
            return WrappedKey.read(self.folder / STORE_KEY).opener is UnlockMethod.PASSPHRASE
        return False

    @property
    def store_path(self) -> Path:
        """The file of its store."""
        return self.folder / _STORE

    def check_transport(self) -> None:
        """Raises InClear when people on the way could read who writes to whom, and take the session over."""
        if not self.allows_clear and not is_confidential(self.url):
            raise InClear(
                f"{self.url} is not on this machine and has no TLS: everybody on the way reads who writes to whom, and can take the session over. Use https://, or ask for it (`allows_clear`, --clear)."
            )

    def check_exists(self) -> None:
        """Raises NotRegistered when the profile would have to be made, and this may not be."""
        if not self.may_create and not self.store_path.exists():
            raise NotRegistered("This profile has no account yet: register first.")

    def open_store(self, lock: IO[bytes] | None = None) -> Store:
        """The store, made when it is not there; `lock` is the turn of this process when it has it already. Raises NotRegistered instead of making it when this may not be; StoreLocked (also for a profile of an earlier version, which is left as it is), StoreFull, StoreFailed."""
        self.check_exists()
        with self.translated_errors():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Store(self.store_path, self._store_key, lock)

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Around work in its folder: what the system refuses, in one clear line. Raises StoreLocked, StoreFull."""
        try:
            yield
        except OSError as failed:
            raise _folder_error(self.folder, failed) from None

    def _store_key(self) -> bytes:
        """The key of the store, made for a new profile, by whoever holds the lock of the store."""
        path = self.folder / STORE_KEY
        if path.exists():
            wrapped = WrappedKey.read(path)
            return wrapped.unwrap(self._wrapping_key(wrapped.opener, wrapped.argon2))
        # The file with the key is on the disk before the store is begun.
        if (self.folder / _STORE).exists():
            raise StoreLocked(
                f"{path} is not there, and nothing else opens {_STORE} beside it: put it back from a copy of the profile. "
                f"If there never was one, {other_version_text(self.folder)}"
            )
        store_key, opener = secrets.token_bytes(KEY_BYTES), self._new_opener()
        argon2 = Argon2.generate() if opener is UnlockMethod.PASSPHRASE else None
        key = self._wrapping_key(opener, argon2, is_new=True)
        WrappedKey.wrap(store_key, opener, argon2, key).write(path)
        return store_key

    def _new_opener(self) -> UnlockMethod:
        if self.key is not None:
            return UnlockMethod.KEY
        if self.passphrase is not None:
            return UnlockMethod.PASSPHRASE
        return UnlockMethod.FILE if (self.folder / _KEY).exists() or system_keyring() is None else UnlockMethod.KEYRING

    def _wrapping_key(self, opener: UnlockMethod, argon2: Argon2 | None, *, is_new: bool = False) -> bytes:
        """What the key of the store is wrapped under. A given key is that, whatever the profile is opened by otherwise."""
        if self.key is not None:
            return self.key
        if self.passphrase is not None:
            if argon2 is None:
                raise StoreLocked(f"{self.folder} is opened by a {_opener_text(opener)}, not by a passphrase.")
            return argon2.derive_key(self.passphrase)
        if opener in (UnlockMethod.PASSPHRASE, UnlockMethod.KEY):
            raise StoreLocked(f"{self.folder} is opened by a {_opener_text(opener)}: give it.")
        if opener is UnlockMethod.FILE:
            return file_key(self.folder / _KEY, is_new=is_new)
        keyring = system_keyring()
        if keyring is None:
            raise StoreLocked(
                f"{self.folder} is opened by the keyring of the system, and there is none here: "
                "run this in the session that it was made in (cron and ssh have no keyring). Nothing was changed."
            )
        return keyring_key(keyring, self.folder, is_new=is_new)


def change_passphrase(profile: Profile, passphrase: str) -> None:
    """Open the profile by this passphrase from now on, with present parameters. `profile` carries what opens it now. A copy of the folder made before is still opened by what opened it then.

    Raises StoreLocked, also while the profile is open, and StoreFull.
    """
    path, key_file = profile.folder / STORE_KEY, profile.folder / _KEY
    if not path.exists():
        raise StoreLocked(f"{profile.folder} has no key that could be wrapped anew: open the profile first.")
    try:
        with lock_store(profile.folder / _STORE):
            store_key = profile._store_key()  # noqa: SLF001 (a part of Profile that takes its lock)
            argon2 = Argon2.generate()
            WrappedKey.wrap(store_key, UnlockMethod.PASSPHRASE, argon2, argon2.derive_key(passphrase)).write(path)
            # It opens nothing any more but an old copy.
            key_file.unlink(missing_ok=True)
    except OSError as failed:
        raise _folder_error(profile.folder, failed) from None


def keyring_key(keyring: Keyring, folder: Path, *, is_new: bool) -> bytes:
    """The key of this folder in a keyring, which is made for a new profile when it is not there. Raises StoreLocked."""
    name = str(folder.resolve())
    try:
        kept = keyring.get_password(_SERVICE, name)
        if kept is None and is_new:
            kept = encode_base64(secrets.token_bytes(KEY_BYTES))
            keyring.set_password(_SERVICE, name, kept)
    except Exception as failed:  # noqa: BLE001 - each backend has errors of its own: locked, cancelled, no session
        raise StoreLocked(
            f"The keyring of the system cannot be used ({type(failed).__name__}): unlock it, or run this where it is unlocked."
        ) from None
    if kept is None:
        raise StoreLocked(
            f"The keyring has no key for {folder.resolve()}: it was deleted, it is the keyring of another user, or the profile was moved here. "
            "Move the profile back to where it was made, or restore the keyring."
        )
    try:
        key = decode_base64(kept)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StoreLocked(
            f"What the keyring has for {folder.resolve()} is no key of {KEY_BYTES} bytes: restore the keyring."
        )
    return key


def system_keyring() -> Keyring | None:
    """The keyring of the system, if the package `keyring` is installed and finds one that is no mere file or nothing."""
    try:
        module = importlib.import_module("keyring")
        backend = module.get_keyring()
    except Exception:  # noqa: BLE001 - without a home folder, or with a backend named that is not there, each fails in its own way
        return None
    return cast("Keyring", module) if getattr(backend, "priority", 0) >= 1 else None


def machine_id() -> str | None:
    """What the system calls this machine (machine-id(5)), if it does."""
    for path in _MACHINE_IDS:
        with suppress(OSError, ValueError):
            kept = path.read_text(encoding="ascii").strip()
            if kept and kept != "uninitialized":
                return kept
    return None


def is_other_machine(store: Store, read_id: Callable[[], str | None] = machine_id) -> bool:
    """Whether `note_machine` saw another machine in this store: the profile was copied or moved, and the other copy may be in use. A hint: copies on one machine, and machines without an id, are not told apart."""
    kept, here = store.get(kinds.MACHINE), _machine_hash(read_id)
    return kept is not None and here is not None and kept != here


def record_machine(store: Store, read_id: Callable[[], str | None] = machine_id) -> None:
    """Remember this machine, if it has an id, in the place of the one before."""
    here = _machine_hash(read_id)
    if here is not None:
        store.put(kinds.MACHINE, "", here)


def _machine_hash(read_id: Callable[[], str | None]) -> bytes | None:
    # machine-id(5): it is not to leave the machine, so a hash that is good for nothing else is kept.
    here = read_id()
    return None if here is None else sha256(label("machine") + here.encode()).digest()


def _opener_text(opener: UnlockMethod) -> str:
    return {UnlockMethod.FILE: "key file", UnlockMethod.KEYRING: "key in the keyring of the system"}.get(
        opener, opener.value
    )


def _folder_error(folder: Path, failed: OSError) -> ClientError:
    if failed.errno in DISK_FULL_ERRNOS:
        return StoreFull(f"The disk of {folder} is full, or takes no more of you: what is kept is whole.")
    return StoreLocked(f"{folder} cannot be used ({failed.strerror}).")
