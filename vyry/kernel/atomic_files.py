"""Files that are written as a whole or not at all, and that only their owner may read (0600)."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write the file, replacing an older one; it is on disk when this returns. Raises OSError."""
    with _temporary_copy(path, content) as copy:
        copy.replace(path)
    sync_folder(path.parent)


def create_file(path: Path, content: bytes) -> bool:
    """Write the file unless it exists; returns whether it was written. Raises OSError."""
    with _temporary_copy(path, content) as copy:
        # A link fails where a rename would replace the file that another process has just created.
        try:
            os.link(copy, path)
        except FileExistsError:
            return False
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary_copy(path: Path, content: bytes) -> Iterator[Path]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
