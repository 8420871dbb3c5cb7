"""The folder of a device, and what unlocks its store: a given key, a passphrase, the system keyring, or a file for its owner alone."""

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
    """The interface of the package `keyring`."""

    def get_password(self, service_name: str, username: str) -> str | None:
        """A stored secret, or None."""
        ...

    def set_password(self, service_name: str, username: str, password: str) -> None:
        """Store a secret."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """The folder of a device and the URL of its node. The store is unlocked by `key`, else a key derived from `passphrase`, else one in the system keyring, else a file (0600)."""

    folder: Path
    url: str
    key: bytes | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    #: Whether opening creates a missing profile.
    may_create: bool = True
    #: Whether a remote node without TLS is allowed.
    allows_clear: bool = False

    def asks_for_passphrase(self) -> bool:
        """Whether this profile is unlocked by a passphrase."""
        with suppress(StoreLocked, OSError):
            return WrappedKey.read(self.folder / STORE_KEY).opener is UnlockMethod.PASSPHRASE
        return False

    @property
    def store_path(self) -> Path:
        """The file of the store."""
        return self.folder / _STORE

    def check_transport(self) -> None:
        """Raises InClear when others on the network could see which accounts exchange messages, and steal the session."""
        if not self.allows_clear and not is_confidential(self.url):
            raise InClear(
                f"{self.url} is a remote node without TLS: others on the network can see which accounts exchange messages, and steal the session. Use https://, or allow it with --clear (SDK: `allows_clear`)."
            )

    def check_exists(self) -> None:
        """Raises NotRegistered when the profile does not exist and may not be created."""
        if not self.may_create and not self.store_path.exists():
            raise NotRegistered("This profile has no account yet: run `vyry client register` or `vyry client link`.")

    def open_store(self, lock: IO[bytes] | None = None) -> Store:
        """The store, created when it does not exist; `lock` if this process has it already. Raises NotRegistered when it may not be created; StoreLocked (also for a profile of an earlier version, which is left as it is), StoreFull, StoreFailed."""
        self.check_exists()
        with self.translated_errors():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Store(self.store_path, self._store_key, lock)

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turns errors of the file system into one line. Raises StoreLocked, StoreFull."""
        try:
            yield
        except OSError as failed:
            raise _folder_error(self.folder, failed) from None

    def _store_key(self) -> bytes:
        """The key of the store, created for a new profile. The caller has the lock of the store."""
        path = self.folder / STORE_KEY
        if path.exists():
            wrapped = WrappedKey.read(path)
            return wrapped.unwrap(self._wrapping_key(wrapped.opener, wrapped.argon2))
        # The key file is on the disk before the store is created.
        if (self.folder / _STORE).exists():
            raise StoreLocked(
                f"The key file {path} is missing, and {_STORE} cannot be opened without it: restore it from a backup of the profile. "
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
        """The key that wraps the store key: a given key always, else that of the profile's unlock method."""
        if self.key is not None:
            return self.key
        if self.passphrase is not None:
            if argon2 is None:
                raise StoreLocked(f"{self.folder} is protected by a {_opener_text(opener)}, not by a passphrase.")
            return argon2.derive_key(self.passphrase)
        if opener in (UnlockMethod.PASSPHRASE, UnlockMethod.KEY):
            raise StoreLocked(f"{self.folder} is protected by a {_opener_text(opener)}: provide it.")
        if opener is UnlockMethod.FILE:
            return file_key(self.folder / _KEY, is_new=is_new)
        keyring = system_keyring()
        if keyring is None:
            raise StoreLocked(
                f"{self.folder} is protected by the system keyring, which is not available here: "
                "run this in the desktop session in which the profile was created (cron and ssh have no keyring). Nothing was changed."
            )
        return keyring_key(keyring, self.folder, is_new=is_new)


def change_passphrase(profile: Profile, passphrase: str) -> None:
    """Unlock the profile by this passphrase from now on, with current parameters. `profile` has what unlocks it now. An earlier copy of the folder keeps its old passphrase or key.

    Raises StoreLocked, also while the profile is open, and StoreFull.
    """
    path, key_file = profile.folder / STORE_KEY, profile.folder / _KEY
    if not path.exists():
        raise StoreLocked(f"{profile.folder} has no key to re-encrypt yet: open the profile first.")
    try:
        with lock_store(profile.folder / _STORE):
            store_key = profile._store_key()  # noqa: SLF001  part of Profile, called with its lock
            argon2 = Argon2.generate()
            WrappedKey.wrap(store_key, UnlockMethod.PASSPHRASE, argon2, argon2.derive_key(passphrase)).write(path)
            # It unlocks only old copies.
            key_file.unlink(missing_ok=True)
    except OSError as failed:
        raise _folder_error(profile.folder, failed) from None


def keyring_key(keyring: Keyring, folder: Path, *, is_new: bool) -> bytes:
    """The key of this folder in a keyring, created for a new profile. Raises StoreLocked."""
    name = str(folder.resolve())
    try:
        stored = keyring.get_password(_SERVICE, name)
        if stored is None and is_new:
            stored = encode_base64(secrets.token_bytes(KEY_BYTES))
            keyring.set_password(_SERVICE, name, stored)
    except Exception as failed:  # noqa: BLE001 - each backend has its own errors: locked, cancelled, no session
        raise StoreLocked(
            f"Cannot use the system keyring ({type(failed).__name__}): unlock it, or run this where it is unlocked."
        ) from None
    if stored is None:
        raise StoreLocked(
            f"The keyring has no key for {folder.resolve()}: it was deleted, it is the keyring of another user, or the profile was moved here. "
            "Move the profile back to where it was made, or restore the keyring."
        )
    try:
        key = decode_base64(stored)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StoreLocked(
            f"The keyring entry for {folder.resolve()} is not a key of {KEY_BYTES} bytes: restore the keyring."
        )
    return key


def system_keyring() -> Keyring | None:
    """The system keyring, if the package `keyring` is installed and finds a real backend."""
    try:
        module = importlib.import_module("keyring")
        backend = module.get_keyring()
    except Exception:  # noqa: BLE001 - without a home folder, or with a missing backend configured, each fails in its own way
        return None
    return cast("Keyring", module) if getattr(backend, "priority", 0) >= 1 else None


def machine_id() -> str | None:
    """The id of this machine (machine-id(5)), if it has one."""
    for path in _MACHINE_IDS:
        with suppress(OSError, ValueError):
            text = path.read_text(encoding="ascii").strip()
            if text and text != "uninitialized":
                return text
    return None


def is_other_machine(store: Store, read_id: Callable[[], str | None] = machine_id) -> bool:
    """Whether `record_machine` recorded another machine in this store: the profile was copied or moved, and the other copy may be in use. Copies on one machine, and machines without an id, are not detected."""
    stored, current = store.get(kinds.MACHINE), _machine_hash(read_id)
    return stored is not None and current is not None and stored != current


def record_machine(store: Store, read_id: Callable[[], str | None] = machine_id) -> None:
    """Record this machine, if it has an id."""
    current = _machine_hash(read_id)
    if current is not None:
        store.put(kinds.MACHINE, "", current)


def _machine_hash(read_id: Callable[[], str | None]) -> bytes | None:
    # machine-id(5): the id should not leave the machine, so only a hash for this purpose is stored.
    current = read_id()
    return None if current is None else sha256(label("machine") + current.encode()).digest()


def _opener_text(opener: UnlockMethod) -> str:
    return {UnlockMethod.FILE: "key file", UnlockMethod.KEYRING: "key in the keyring of the system"}.get(
        opener, opener.value
    )


def _folder_error(folder: Path, failed: OSError) -> ClientError:
    if failed.errno in DISK_FULL_ERRNOS:
        return StoreFull(f"The disk of {folder} is full, or your disk quota is exhausted; stored data is intact.")
    return StoreLocked(f"{folder} cannot be used ({failed.strerror}).")
