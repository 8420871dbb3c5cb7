"""Where a downloaded file goes: under a name that stays inside the folder, complete and verified or not at all, and never over another file."""

import errno
import fcntl
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from vyry.client.errors import FileAlreadyExists, FileFailed, StoreFull
from vyry.client.store.events import Attachment
from vyry.client.store.uploads import CHUNK_BYTES, translated_disk_errors, write_all
from vyry.kernel.display_text import JOINERS, clean_line
from vyry.signal_protocol.attachments import AttachmentOpener


#: Bytes of a name in UTF-8: with a number or suffix added it fits every file system.
_MAX_NAME_BYTES: Final = 180
_MAX_SUFFIX_BYTES: Final = 20
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FORBIDDEN: Final = re.compile(r'[<>:"|?*]')
#: Names of devices on Windows.
_WINDOWS_DEVICES: Final = re.compile(
    r"(?i:con|prn|aux|nul|conin\$|conout\$|com[\d\u00b9\u00b2\u00b3]|lpt[\d\u00b9\u00b2\u00b3]) *(\..*)?"
)


def safe_name(name: str | None) -> str:
    """A safe file name: no path, not hidden, no characters with a meaning for a terminal or a shell."""
    last = re.split(r"[/\\]", name or "")[-1]
    # Line ends and controls leave no space behind; `clean_line` removes direction marks, lone surrogates and invisible characters.
    line = clean_line(_CONTROLS.sub("", last))
    # Private and unassigned characters are removed; joiners of scripts and emoji stay.
    visible = "".join(each for each in line if unicodedata.category(each)[0] != "C" or each in JOINERS)
    clean = _FORBIDDEN.sub("_", visible).lstrip(" .-").rstrip(" .")
    if _WINDOWS_DEVICES.fullmatch(clean):
        clean = f"_{clean}"
    return _shortened(clean) or "attachment"


def _shortened(name: str) -> str:
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    suffix = Path(name).suffix
    suffix = suffix if len(suffix.encode()) <= _MAX_SUFFIX_BYTES else ""
    budget = _MAX_NAME_BYTES - len(suffix.encode())
    return name.encode()[:budget].decode(errors="ignore").rstrip(" .") + suffix


def choose_path(attachment: Attachment, path: Path) -> Path:
    """The path to save to: inside a folder under the attachment's own name, else exactly this path. Raises FileAlreadyExists, FileFailed, StoreFull."""
    is_folder = path.is_dir()
    final = path / safe_name(attachment.file_name) if is_folder else path
    if not is_folder and os.path.lexists(path):
        raise FileAlreadyExists(f"{path} already exists; nothing was overwritten.")
    with translated_disk_errors(f"{final.parent}"):
        free = shutil.disk_usage(final.parent).free
    if free < attachment.size:
        raise StoreFull(f"Not enough disk space in {final.parent} for {attachment.size} bytes.")
    return final


@contextmanager
def open_part(attachment_id: UUID, folder: Path) -> Iterator[BinaryIO]:
    """The sealed bytes of a blob so far, locked for this process. Raises FileFailed, StoreFull."""
    path = folder / f"{attachment_id}.part"
    with translated_disk_errors(f"{path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FileFailed(f"Another download is writing {path}: wait for it to finish.") from None
        try:
            yield part
        finally:
            if not os.fstat(descriptor).st_size:
                path.unlink(missing_ok=True)


def append(part: BinaryIO, piece: bytes) -> None:
    """Append to the part. Raises FileFailed, StoreFull."""
    with translated_disk_errors("The part of the file"):
        write_all(part, piece)


def truncate(part: BinaryIO, length: int) -> None:
    """Shorten the part to this length, and continue there. Raises FileFailed, StoreFull."""
    with translated_disk_errors("The part of the file"):
        part.truncate(length)
        part.seek(length)


def decrypt_to(part: BinaryIO, attachment: Attachment, final: Path, *, is_numbered: bool) -> Path:
    """Decrypt the whole blob and give it its name, the next free one if it is numbered. Raises AttachmentBroken, AttachmentTruncated, UnknownVersion, FileAlreadyExists, FileFailed, StoreFull."""
    opening = final.parent / f"{attachment.attachment_id}.opening"
    with translated_disk_errors(f"{final}"):
        try:
            opening.unlink(missing_ok=True)
            descriptor = os.open(opening, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as plain:
                _decrypt(part, attachment, plain)
            saved = _link_unique(opening, final, is_numbered=is_numbered)
            (final.parent / f"{attachment.attachment_id}.part").unlink(missing_ok=True)
        finally:
            opening.unlink(missing_ok=True)
    return saved


def _decrypt(part: BinaryIO, attachment: Attachment, plain: BinaryIO) -> None:
    opener = AttachmentOpener(attachment.key, attachment.size, attachment.digest)
    part.seek(0)
    while data := part.read(CHUNK_BYTES):
        plain.writelines(opener.update(data))
    opener.finish()
    plain.flush()
    os.fsync(plain.fileno())


def _link_unique(opening: Path, final: Path, *, is_numbered: bool) -> Path:
    name = final
    for number in count(2):
        try:
            _claim_name(opening, name)
        except FileExistsError:
            if not is_numbered:
                raise FileAlreadyExists(f"{final} already exists; nothing was overwritten.") from None
            name = final.with_name(f"{final.stem} ({number}){final.suffix}")
        else:
            break
    return name


def _claim_name(opening: Path, name: Path) -> None:
    """Give the file this name unless it is in use."""
    try:
        os.link(opening, name, follow_symlinks=False)
    except OSError as failed:
        if failed.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without links: the name is reserved first.
        name.touch(mode=0o600, exist_ok=False)
        opening.rename(name)
