"""A backup is a tar stream whose last file lists all others."""

import io
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vyry.operator.backup.archive import (
    ABOUT,
    DATABASE_FOLDER,
    FORMAT,
    MANIFEST,
    PIECE_BYTES,
    About,
    ArchiveWriter,
    read_about,
    read_archive,
)
from vyry.operator.backup.errors import BackupError


FILES = [("about.json", b"{}"), ("database/000000", b"rows"), ("secrets/pepper", b"p" * 600)]


def write(folder: Path, files: Sequence[tuple[str, bytes]] = FILES) -> bytes:
    stream = io.BytesIO()
    with ArchiveWriter(stream, folder) as archive:
        for name, content in files:
            archive.add(name, content)
    return stream.getvalue()


def pack(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Any tar file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def unpack(content: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]  # files all


def read(content: bytes) -> list[tuple[str, bytes]]:
    return list(read_archive(io.BytesIO(content)))


def about(**changes: object) -> bytes:
    made = About(
        format=FORMAT,
        version="1.0.0",
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
        database="sqlite",
        server_version="",
        migrations=("0001_version_1",),
        has_attachments=True,
        has_secrets=False,
    )
    return made.model_copy(update=changes).model_dump_json().encode()


def test_what_was_written_is_read_in_its_order(tmp_path: Path) -> None:
    assert read(write(tmp_path)) == FILES


def test_a_long_file_is_written_in_pieces(tmp_path: Path) -> None:
    stream, long = io.BytesIO(), bytes(range(256)) * (PIECE_BYTES // 128)
    with ArchiveWriter(stream, tmp_path) as archive:
        sizes = list(archive.add_pieces(DATABASE_FOLDER, io.BytesIO(long + b"end")))

    files = read(stream.getvalue())

    assert (sizes, [name for name, _ in files]) == (
        [PIECE_BYTES, PIECE_BYTES, 3],
        [f"database/00000{number}" for number in range(3)],
    )
    assert b"".join(content for _, content in files) == long + b"end"


def test_the_last_file_has_digest_size_and_name_of_every_other(tmp_path: Path) -> None:
    name, content = unpack(write(tmp_path))[-1]

    assert name == MANIFEST
    assert content.decode().splitlines()[1] == (
        "bc51e9e65d79e1c90ba544ab2eae1044ccdf8c1af7a559ba375cba4276f7d99e 4 database/000000"
    )


def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    files = unpack(write(tmp_path))
    wrong = [files[:-1], [*files[:1], *files[2:]], [files[0], ("database/000000", b"Rows"), *files[2:]]]

    for each in (*wrong, [*files[:-1], files[-1], ("secrets/late", b"")]):
        with pytest.raises(BackupError, match="damaged"):
            read(pack(each))


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "/etc/passwd", "attachments/../x", "secrets/", "database/x", "other"]
)
def test_a_name_that_is_none_of_a_backup_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BackupError, match="damaged"):
        read(write(tmp_path, [(name, b"")]))


@pytest.mark.parametrize("content", [b"", b"no tar file at all" * 100, bytes(10_240)])
def test_what_is_no_tar_file_is_refused(content: bytes) -> None:
    with pytest.raises(BackupError, match="damaged"):
        read(content)


def test_a_link_is_refused() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("secrets/pepper")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)

    with pytest.raises(BackupError, match="damaged"):
        read(stream.getvalue())


def test_the_first_file_says_what_the_backup_is_of() -> None:
    found = read_about(iter([(ABOUT, about(migrations=("0001_version_1", "0002_next")))]))

    assert (found.database, found.migrations) == ("sqlite", ("0001_version_1", "0002_next"))


@pytest.mark.parametrize("file", [("database/000000", about()), (ABOUT, b"{}"), (ABOUT, b"x")])
def test_a_first_file_that_says_nothing_is_refused(file: tuple[str, bytes]) -> None:
    with pytest.raises(BackupError, match="damaged"):
        read_about(iter([file]))


def test_a_backup_of_a_newer_release_is_refused_with_its_version() -> None:
    with pytest.raises(BackupError, match=r"Vyry 9.0.0 in format 2"):
        read_about(iter([(ABOUT, about(format=2, version="9.0.0"))]))
