"""File pointers, file names and pending sealed files: whatever others sent, and however large they are."""

import asyncio
import io
import tracemalloc
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vyry.client.crypto.content_parser import read_attachment
from vyry.client.errors import FileAlreadyExists, FileFailed
from vyry.client.store.downloads import append, decrypt_to, open_part, safe_name
from vyry.client.store.events import Attachment
from vyry.client.store.store import DAY_MS, Store
from vyry.client.store.uploads import KEEP_DAYS, UploadStore
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.attachments import AttachmentOpener, AttachmentSealer
from vyry.signal_protocol.refusals import AttachmentBroken, BadContent


MIB = 1 << 20
NOW = 1_800_000_000_000
GOOD: dict[str, Any] = {
    "attachmentId": "0198c2d4-7a00-7000-8000-000000000000",
    "key": encode_base64(bytes(32)),
    "digest": encode_base64(bytes(32)),
    "size": 5,
    "mediaType": "image/png",
    "fileName": "photo.png",
    "width": 3,
    "thumbnail": encode_base64(bytes(4_096)),
    "isVoiceNote": False,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def test_a_pointer_is_read_as_it_was_written() -> None:
    assert read_attachment(GOOD).as_json() == GOOD


@given(st.dictionaries(st.sampled_from([*GOOD, "more"]), JSON, max_size=3))
def test_whatever_stands_in_a_pointer_it_is_read_or_refused_by_name(changed: dict[str, Any]) -> None:
    try:
        read = read_attachment({**GOOD, **changed})
    except BadContent:
        return

    assert (len(read.key), len(read.digest)) == (32, 32)
    assert 0 <= read.size < 2**53
    assert read_attachment(read.as_json()) == read


@pytest.mark.parametrize(
    "wrong",
    [
        {"attachmentId": "../../messages"},
        {"attachmentId": GOOD["attachmentId"].upper() + "0"},
        {"key": encode_base64(bytes(31))},
        {"digest": "%%"},
        {"size": -1},
        {"size": 2**53},
        {"size": True},
        {"size": 1.0},
        {"mediaType": "text/plain\x1b[2J"},
        {"mediaType": "a" * 256},
        {"fileName": "nul\0"},
        {"fileName": "\ud800"},
        {"fileName": 5},
        {"width": -1},
        {"durationMs": "long"},
        {"thumbnail": encode_base64(bytes(4_097))},
        {"thumbnail": "%%"},
        {"isVoiceNote": 1},
    ],
)
def test_a_hostile_pointer_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadContent):
        read_attachment({**GOOD, **wrong})


@pytest.mark.parametrize("missing", ["attachmentId", "key", "digest", "size", "mediaType"])
def test_a_pointer_without_what_it_needs_is_refused_by_name(missing: str) -> None:
    with pytest.raises(BadContent):
        read_attachment({name: value for name, value in GOOD.items() if name != missing})


@given(st.text() | st.text(alphabet="./\\: -\x00\x1b\u202eaCON0\U0001f600"))
def test_whatever_a_sender_calls_a_file_its_name_is_one_in_the_folder(name: str) -> None:
    safe = safe_name(name)

    assert Path("in", safe).parent == Path("in")
    assert PureWindowsPath(safe).name == safe
    assert safe[0] not in ".- "
    assert 0 < len(safe.encode()) <= 200
    unseen = [each for each in safe if unicodedata.category(each)[0] == "C" and each not in "\u200c\u200d"]
    assert not [*unseen, *(each for each in safe if each in '<>:"|?*\u2028\u2029')]
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Übersicht – März (2).pdf", "Übersicht – März (2).pdf"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("..", "attachment"),
        ("", "attachment"),
        (None, "attachment"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("con.txt", "_con.txt"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("ä" * 300 + ".jpeg", "ä" * 87 + ".jpeg"),
    ],
)
def test_a_good_name_stays_and_a_bad_one_loses_what_is_bad(name: str | None, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        yield opened


def seal(store: Store, content: bytes, now: int = NOW) -> tuple[Any, bytes]:
    """Seal this; returns the pending upload and the blob."""
    waiting = asyncio.run(UploadStore(store, lambda: now).seal(io.BytesIO(content), 1 << 40))
    return waiting, (store.folder / "uploads" / waiting.blob).read_bytes()


def test_a_file_that_waits_is_not_sealed_again(store: Store) -> None:
    first, blob = seal(store, b"a file")

    assert seal(store, b"a file") == (first, blob)
    assert seal(store, b"b file")[0].key != first.key
    opener = AttachmentOpener(first.key, first.size, first.digest)
    assert b"".join(opener.update(blob)) == b"a file"
    opener.finish()


def test_a_file_whose_sealed_bytes_are_gone_gets_another_key(store: Store) -> None:
    first, _ = seal(store, b"a file")
    (store.folder / "uploads" / first.blob).write_bytes(b"torn")

    assert seal(store, b"a file")[0].key != first.key


def test_what_no_upload_needs_any_more_is_deleted(store: Store) -> None:
    first, _ = seal(store, b"a file")
    (store.folder / "uploads/broken-off.sealed").write_bytes(b"half")
    later = NOW + (KEEP_DAYS + 2) * DAY_MS
    store.delete_expired(later)
    second, _ = seal(store, b"another file", later)

    assert first.blob != second.blob
    assert [each.name for each in (store.folder / "uploads").iterdir()] == [second.blob]


def test_nothing_readable_of_a_file_that_waits_lies_in_the_profile(store: Store) -> None:
    waiting, _ = seal(store, b"a secret line " * 100)

    held = b"".join(each.read_bytes() for each in store.folder.rglob("*") if each.is_file())
    assert b"a secret line" not in held
    assert waiting.key not in held
    assert [each for each in (store.folder / "uploads").iterdir() if each.stat().st_mode & 0o077] == []


class Zeros(io.RawIOBase):
    """A source of so many zero bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.left = size

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        given = min(size, self.left)
        self.left -= given
        return bytes(given)


def sealed_part(folder: Path, size: int) -> Attachment:
    """A whole blob as a download leaves it, and its pointer."""
    sealer, attachment_id = AttachmentSealer(bytes(32)), uuid4()
    with open_part(attachment_id, folder) as part:
        for _ in range(size // MIB):
            for piece in sealer.update(bytes(MIB)):
                append(part, piece)
        for piece in sealer.finish():
            append(part, piece)
    return Attachment(attachment_id, bytes(32), sealer.digest, size, "application/octet-stream")


def test_a_file_is_never_whole_in_memory(store: Store, tmp_path: Path) -> None:
    pointer = sealed_part(tmp_path, 24 * MIB)
    tracemalloc.start()
    try:
        asyncio.run(UploadStore(store, lambda: NOW).seal(Zeros(24 * MIB), 1 << 40))  # type: ignore[arg-type]
        with open_part(pointer.attachment_id, tmp_path) as part:
            decrypt_to(part, pointer, tmp_path / "zeros", is_numbered=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (tmp_path / "zeros").stat().st_size == 24 * MIB
    assert most < 8 * MIB


def test_a_file_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    pointer = sealed_part(tmp_path, MIB)
    (tmp_path / "name").write_text("mine", encoding="utf-8")

    with open_part(pointer.attachment_id, tmp_path) as part, pytest.raises(FileAlreadyExists):
        decrypt_to(part, pointer, tmp_path / "name", is_numbered=False)

    assert (tmp_path / "name").read_text(encoding="utf-8") == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["name", f"{pointer.attachment_id}.part"])


def test_a_file_is_for_its_owner_alone_and_there_only_when_it_is_whole(tmp_path: Path) -> None:
    pointer = sealed_part(tmp_path, MIB)
    part = tmp_path / f"{pointer.attachment_id}.part"
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + b"\0")
    with open_part(pointer.attachment_id, tmp_path) as held, pytest.raises(AttachmentBroken):
        decrypt_to(held, pointer, tmp_path / "name", is_numbered=False)
    assert [each.name for each in tmp_path.iterdir()] == [part.name]

    part.write_bytes(whole)
    with open_part(pointer.attachment_id, tmp_path) as held:
        saved = decrypt_to(held, pointer, tmp_path / "name", is_numbered=False)
    assert saved.stat().st_mode & 0o077 == 0


def test_two_downloads_never_write_the_same_part(tmp_path: Path) -> None:
    attachment_id = uuid4()

    with (
        open_part(attachment_id, tmp_path),
        pytest.raises(FileFailed, match="Another download"),
        open_part(attachment_id, tmp_path),
    ):
        raise AssertionError("both have it")
