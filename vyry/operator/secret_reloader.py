"""Keeps a node up with its operator: rings of peppers and keys change while it runs."""

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


#: A node knows what stands in its files and in the database after so long: what it is to use begins later.
RELOAD_SECONDS: Final = 2.0
_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class SecretFile:
    """A file that is read again when it is another one."""

    path: Path
    _stamp: _Stamp | None = None

    def has_changed(self) -> bool:
        """Whether it is there, and not the one that was seen last."""
        try:
            found = self.path.stat()
        except OSError:
            # What was known stays: a file that is being copied may be gone for a moment.
            return False
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        is_new, self._stamp = stamp != self._stamp, stamp
        return is_new


class SecretReloader:
    """Reads both files again when they change, and asks the database which peppers the installation uses."""

    def __init__(
        self, files: tuple[Path, Path], rings: tuple[KeyRing, Pepper], jwt_secret: bytes, clock: Clock
    ) -> None:
        self._key_file, self._pepper_file = (SecretFile(path) for path in files)
        self._keys, self._pepper = rings
        self._first = jwt_secret
        self._clock = clock
        self._peppers: dict[int, bytes] = {}
        self._lacking: int | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            with suppress(Unavailable):
                await self.reload()

    async def reload(self) -> None:
        """Learn what is new. A file that cannot be understood changes nothing. Raises Unavailable."""
        try:
            self._read_files()
        except (BadSecretFile, OSError) as problem:
            log.error("ring", problem=type(problem).__name__)
        if not self._peppers:
            return
        prints = {number: fingerprint(secret) for number, secret in self._peppers.items()}
        used = await list_peppers()
        if not used:
            oldest = min(prints)
            await add_first_pepper(PepperEntry(oldest, prints[oldest], self._clock.now()))
            used = await list_peppers()
        self._apply_peppers(current_pepper_id(prints, used, self._clock.now()), prints, used)

    def _read_files(self) -> None:
        if self._key_file.has_changed():
            self._keys.replace(read_signing_keys(self._key_file.path, self._first))
        if self._pepper_file.has_changed():
            self._peppers = read_peppers(read_secret(self._pepper_file.path))

    def _apply_peppers(self, pepper_id: int | None, prints: dict[int, str], used: list[PepperEntry]) -> None:
        right = {each.pepper_id: each.fingerprint for each in used}
        ring = {
            number: secret
            for number, secret in self._peppers.items()
            if right.get(number, prints[number]) == prints[number]
        }
        current = min(ring, default=0) if pepper_id is None else pepper_id
        self._pepper.replace(ring, current)
        lacking = None if current in ring else current
        if lacking is not None and lacking != self._lacking:
            # Sign-ups get 503 until the file is put right: better than accounts that no other node finds.
            log.error(
                "pepper",
                problem="VYRY_PEPPER_FILE lacks a pepper that this installation uses: copy the file of the other nodes",
            )
        self._lacking = lacking


def read_secret(path: Path) -> bytes:
    """A secret as the settings read it: text without the white space around it, or any bytes."""
    raw = path.read_bytes()
    return (raw.strip() if raw.isascii() else raw).decode("latin-1").encode()
