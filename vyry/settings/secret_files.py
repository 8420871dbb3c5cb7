"""Secret files: created for a new database only. For an existing one a lost secret must be restored, not replaced."""

import contextlib
import os
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from vyry.kernel.atomic_files import create_file


#: In the data folder: JWT_SECRET where the environment does not have it.
JWT_FILE: Final = "jwt-secret"


def create_secret(path: Path) -> None:
    """Create a file with a random secret, unless it exists."""
    if not path.exists():
        create_file(path, secrets.token_urlsafe(48).encode())


def secret_problems(name: str, read: Callable[[], str | bytes], min_length: int = 1) -> Iterator[str]:
    """A line when the secret of the setting `name` cannot be read, is empty or is too short."""
    try:
        secret = read()
    except (OSError, ValueError) as error:
        yield f"{name} cannot be read: {type(error).__name__}."
        return
    if not secret:
        yield f"{name} is empty."
    elif len(secret) < min_length:
        yield f"{name} holds less than {min_length} characters: it is no secret."


def lost_secret_problems(url: str, pepper_file: Path, signing_key_file: Path | None = None) -> Iterator[str]:
    """A line for each of these files that is missing while the SQLite database exists, with the consequence and what to do."""
    if not _has_served(Path(url.removeprefix("sqlite://").partition("?")[0])):
        return
    if not pepper_file.exists():
        yield (
            f"There is a database and no pepper ({pepper_file}): put the file back from a backup. "
            "Without it no account is found by its number, so no other is made."
        )
    if signing_key_file is not None and not signing_key_file.exists():
        yield (
            f"There is a database and no {signing_key_file}: put the file back from a backup, or make another with `vyry secrets`; "
            "all access tokens end then, and clients refresh by themselves."
        )


def _has_served(database: Path) -> bool:
    """Whether a node has run on this database: it recorded its pepper there."""
    if not database.is_file():
        return False
    address = f"{database.absolute().as_uri()}?mode=ro"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(address, uri=True)) as opened:
        return bool(opened.execute("SELECT EXISTS (SELECT 1 FROM pepper)").fetchone()[0])
    return False


def folder_problems(folder: Path) -> Iterator[str]:
    """A line if other users can read or change the data folder."""
    if not folder.exists():
        return
    found = folder.stat()
    if found.st_uid != os.geteuid():
        yield f"{folder} belongs to another user: run as its owner, or set VYRY_DATA_DIR to a folder of your own."
    elif stat.S_IMODE(found.st_mode) & 0o077:
        yield f"Others can look into {folder}: run `chmod 700 {folder}`."
