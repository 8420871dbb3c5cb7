"""Where a device lives, and what opens its store: a given key, a passphrase, the keyring of the system, or a file for its owner alone."""

import base64
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

from vyry.client.refusals import StoreLocked
from vyry.client.store import KEY_BYTES, Store, file_key, passphrase_key, private_file


_STORE: Final = "vyry.db"
_KEY: Final = "key"
_SALT: Final = "salt"
_SALT_BYTES: Final = 16
_SERVICE: Final = "vyry"


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

    def asks_for_passphrase(self) -> bool:
        """Whether a passphrase opens this profile."""
        return (self.folder / _SALT).exists()

    def open_store(self) -> Store:
        """The store, made when it is not there. Raises StoreLocked, StoreFull, StoreFailed."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Store(self.folder / _STORE, self.key or self._own_key())
        except OSError as failed:
            raise StoreLocked(f"{self.folder} cannot be used ({failed.strerror}).") from None

    def _own_key(self) -> bytes:
        if self.passphrase is not None:
            if (self.folder / _KEY).exists():
                raise StoreLocked(f"{self.folder} is opened by a key file, not by a passphrase.")
            return passphrase_key(self.passphrase, private_file(self.folder / _SALT, _SALT_BYTES))
        if self.asks_for_passphrase():
            raise StoreLocked(f"{self.folder} is opened by a passphrase: give it.")
        keyring = None if (self.folder / _KEY).exists() else system_keyring()
        return file_key(self.folder / _KEY) if keyring is None else keyring_key(keyring, self.folder)


def keyring_key(keyring: Keyring, folder: Path) -> bytes:
    """The key of this folder in a keyring, which is made when it is not there. Raises StoreLocked."""
    name = str(folder.resolve())
    kept = keyring.get_password(_SERVICE, name)
    if kept is None:
        if (folder / _STORE).exists():
            raise StoreLocked(f"The keyring has no key for {folder}.")
        kept = base64.b64encode(private_file(folder / _KEY, KEY_BYTES)).decode()
        keyring.set_password(_SERVICE, name, kept)
        (folder / _KEY).unlink()
    return base64.b64decode(kept)


def system_keyring() -> Keyring | None:
    """The keyring of the system, if the package `keyring` is installed and finds one that is no mere file or nothing."""
    try:
        module = importlib.import_module("keyring")
    except ImportError:
        return None
    backend = module.get_keyring()
    return cast("Keyring", module) if getattr(backend, "priority", 0) >= 1 else None
