"""Reloads peppers and signing keys while the node runs."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vyry.accounts.phone import Pepper, fingerprint
from vyry.accounts.signing import KeyRing
from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.operator.secret_files import BadSecretFile, read_peppers, read_signing_keys
from vyry.storage.peppers import PepperEntry, add_first_pepper, current_pepper_id, list_peppers
from vyry.telemetry import log


#: Every node has read its files and the database within this time; a new pepper or key is used only after it.
RELOAD_SECONDS: Final = 2.0
_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class SecretFile:
    """Notices when a file was replaced."""

    path: Path
    _stamp: _Stamp | None = None

    def has_changed(self) -> bool:
        """Whether the file exists and is not the one of the last call."""
        try:
            found = self.path.stat()
        except OSError:
            # A file that is being copied may be missing for a moment.
            return False
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        is_new, self._stamp = stamp != self._stamp, stamp
        return is_new


class SecretReloader:
    """Reads both files again when they change, and the peppers of the installation from the database."""

    def __init__(
        self, files: tuple[Path, Path], rings: tuple[KeyRing, Pepper], jwt_secret: bytes, clock: Clock
    ) -> None:
        self._key_file, self._pepper_file = (SecretFile(path) for path in files)
        self._keys, self._pepper = rings
        self._jwt_secret = jwt_secret
        self._clock = clock
        self._peppers: dict[int, bytes] = {}
        self._lacking: int | None = None

    async def run(self) -> None:
        """Reload until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            with suppress(Unavailable):
                await self.reload()

    async def reload(self) -> None:
        """Load what has changed. A file that cannot be read or parsed changes nothing. Raises Unavailable."""
        for file, load in ((self._key_file, self._load_keys), (self._pepper_file, self._load_peppers)):
            try:
                if file.has_changed():
                    load()
            except (BadSecretFile, OSError) as problem:
                log.error("secret_reload_failed", path=file.path.name, problem=type(problem).__name__)
        if not self._peppers:
            return
        prints = {number: fingerprint(secret) for number, secret in self._peppers.items()}
        used = await list_peppers()
        if not used:
            oldest = min(prints)
            await add_first_pepper(PepperEntry(oldest, prints[oldest], self._clock.now()))
            used = await list_peppers()
        self._apply_peppers(current_pepper_id(prints, used, self._clock.now()), prints, used)

    def _load_keys(self) -> None:
        self._keys.replace(read_signing_keys(self._key_file.path, self._jwt_secret))

    def _load_peppers(self) -> None:
        self._peppers = read_peppers(read_secret(self._pepper_file.path))

    def _apply_peppers(self, pepper_id: int | None, prints: dict[int, str], used: list[PepperEntry]) -> None:
        known = {each.pepper_id: each.fingerprint for each in used}
        usable = {
            number: secret
            for number, secret in self._peppers.items()
            if known.get(number, prints[number]) == prints[number]
        }
        current = min(usable, default=0) if pepper_id is None else pepper_id
        self._pepper.replace(usable, current)
        lacking = None if current in usable else current
        if lacking is not None and lacking != self._lacking:
            # Sign-ups get 503 until the file is correct: otherwise this node would create accounts that no other node finds.
            log.error(
                "pepper_missing",
                problem="VYRY_PEPPER_FILE lacks a pepper that this installation uses: copy the file of the other nodes",
            )
        self._lacking = lacking


def read_secret(path: Path) -> bytes:
    """Read a secret as the settings do: text without surrounding white space, or any bytes."""
    raw = path.read_bytes()
    return (raw.strip() if raw.isascii() else raw).decode("latin-1").encode()
