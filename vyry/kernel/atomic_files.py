"""Files that are written as a whole or not at all, and that only their owner may read (0600)."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


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


@contextmanager
def open_new_file(path: Path, *, replaces: bool) -> Iterator[BinaryIO]:
    """A file to write a stream into: when the context ends without an error it is on disk under its name, else there is none.

    It is written beside its place under a fixed name, so what a killed process left is overwritten. Raises OSError: FileExistsError for a file that may not be replaced,
    BlockingIOError while another process writes it.
    """
    if not replaces and path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        _claim(descriptor, part)
        is_moved = False
        try:
            yield file
            file.flush()
            os.fsync(descriptor)
            if replaces:
                part.replace(path)
                is_moved = True
            else:
                # A link fails where a rename would replace the file that another process has just created.
                os.link(part, path)
        finally:
            if not is_moved:
                part.unlink()
    sync_folder(path.parent)


def _claim(descriptor: int, part: Path) -> None:
    """Lock and empty a file that is about to be written. Raises BlockingIOError."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not part.exists() or not os.path.samestat(os.fstat(descriptor), part.stat()):
        # Another process has just completed it: it has its final name now.
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(part))
    os.fchmod(descriptor, 0o600)
    os.ftruncate(descriptor, 0)


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
