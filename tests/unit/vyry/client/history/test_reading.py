"""An archive is refused when a frame was changed, moved, repeated or left out, when its end is missing, and under another key or version; a length is checked before it is read."""

import io
from collections.abc import Callable

import pytest

from tests.support.archives import KEY, archive_of, frames, sealed_parts
from tests.support.histories import BO, DIRECT, GROUP, NOW
from vyry.client.history.errors import (
    ArchiveRefused,
    CutArchive,
    Damaged,
    MistypedKey,
    NewerArchive,
    NotAnArchive,
    WrongKey,
)
from vyry.client.history.frames import (
    AccountFrame,
    ConversationsFrame,
    End,
    Entry,
    FilePart,
    Frame,
    Header,
    MessagesFrame,
    Settings,
    pack_frame,
    unpack_frame,
)
from vyry.client.history.reading import ArchiveReader, FrameOrder
from vyry.client.history.sealing import (
    MAX_FRAME,
    PREFIX_BYTES,
    FrameOpener,
    FrameSealer,
    new_recovery_key,
    read_recovery_key,
    show_recovery_key,
)
from vyry.client.store.archived_conversations import ArchivedConversation


def refusal(archive: bytes, key: bytes = KEY) -> type[BaseException] | None:
    """Why the archive is refused."""
    try:
        ArchiveReader(io.BytesIO(archive), key).verify()
    except ArchiveRefused as refused:
        return type(refused)
    return None


def test_a_whole_archive_is_read() -> None:
    summary = ArchiveReader(io.BytesIO(archive_of(frames())), KEY).verify()

    assert (summary.account_id, summary.header.created_at) == (BO, NOW)


def test_an_archive_cut_anywhere_is_refused() -> None:
    archive = archive_of(frames())

    found = {refusal(archive[:length]) for length in range(len(archive))}
    assert found == {NotAnArchive, CutArchive}


def test_an_archive_with_any_changed_bit_is_refused() -> None:
    archive = archive_of(frames())
    for place in range(len(archive)):
        changed = bytearray(archive)
        changed[place] ^= 1 << place % 8
        assert refusal(bytes(changed)) is not None, place


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [parts[1], parts[0], *parts[2:]],
        lambda parts: [parts[0], *parts],
        lambda parts: parts[1:],
        lambda parts: [*parts[:-1], parts[-1], parts[-1]],
        lambda parts: [*parts[:2], *parts[3:]],
        lambda parts: [*parts, b"more"],
    ],
    ids=["swapped", "repeated", "without the first", "two ends", "left out", "bytes behind the end"],
)
def test_moved_frames_are_refused(change: Callable[[list[bytes]], list[bytes]]) -> None:
    prefix, parts = sealed_parts(frames())

    assert refusal(prefix + b"".join(change(parts))) is Damaged


def test_an_archive_without_its_last_frame_is_cut() -> None:
    prefix, parts = sealed_parts(frames())

    assert refusal(prefix + b"".join(parts[:-1])) is CutArchive


def test_frames_of_another_archive_under_the_same_key_are_refused() -> None:
    prefix, parts = sealed_parts(frames())
    _, others = sealed_parts(frames())

    assert refusal(prefix + parts[0] + b"".join(others[1:])) is Damaged


def test_another_key_version_or_file_is_named() -> None:
    archive = archive_of(frames())

    assert refusal(archive, bytes(32)) is WrongKey
    assert refusal(archive[:8] + b"\2" + archive[9:]) is NewerArchive
    assert refusal(b"SQLite format 3" + archive) is NotAnArchive


def test_a_length_is_checked_before_anything_is_read() -> None:
    opener = FrameOpener(KEY, archive_of(frames())[:PREFIX_BYTES])
    for length in (0, 16, MAX_FRAME + 17, 2**31 - 1, 2**32 - 1):
        with pytest.raises(Damaged):
            opener.sealed_size(length.to_bytes(4))


def test_a_frame_that_is_too_large_is_not_made() -> None:
    with pytest.raises(Damaged, match="too large"):
        FrameSealer(KEY).seal(bytes(MAX_FRAME + 1))


CONVERSATIONS = ConversationsFrame((ArchivedConversation(DIRECT, "direct", BO),))
MESSAGES = MessagesFrame(DIRECT, (Entry("memberAdded", BO),))
PART = FilePart(BO, 3, 0, b"ab")


@pytest.mark.parametrize(
    "wrong",
    [
        [MESSAGES],
        [CONVERSATIONS, MessagesFrame(GROUP, ())],
        [CONVERSATIONS, CONVERSATIONS],
        [CONVERSATIONS, MESSAGES, CONVERSATIONS],
        [Header(NOW, "backup", None, has_files=False)],
        [AccountFrame(BO)],
        [Settings({}), CONVERSATIONS],
        [PART],
        [PART, FilePart(BO, 3, 1, b"b")],
        [PART, FilePart(DIRECT, 3, 2, b"b")],
        [PART, Settings({})],
    ],
    ids=str,
)
def test_frames_in_another_order_are_refused(wrong: list[Frame]) -> None:
    assert refusal(archive_of([*frames()[:2], *wrong])) is Damaged


def test_an_archive_begins_with_its_header_and_account() -> None:
    header, account = frames()[:2]

    assert refusal(archive_of([account])) is Damaged
    assert refusal(archive_of([header, CONVERSATIONS])) is Damaged
    assert refusal(archive_of([])) is Damaged


@pytest.mark.parametrize("wrong", [End(1, 0, 0, 0, bytes(32)), End(0, 0, 0, 0, bytes(32))])
def test_false_counts_and_a_false_digest_are_refused(wrong: End) -> None:
    sealer = FrameSealer(KEY)
    start = [sealer.seal(pack_frame(frame)) for frame in frames()[:2]]

    assert refusal(sealer.prefix + b"".join(start) + sealer.seal(pack_frame(wrong), is_last=True)) is Damaged


def test_the_last_flag_belongs_to_the_end_alone() -> None:
    sealer, order = FrameSealer(KEY), FrameOrder()
    sealed = [sealer.prefix]
    for frame in frames()[:2]:
        order.add(frame, pack_frame(frame), is_last=False)
        sealed.append(sealer.seal(pack_frame(frame)))
    early = [*sealed, FrameSealer(KEY).seal(b"")]
    unflagged = [*sealed, sealer.seal(pack_frame(order.end()))]

    assert refusal(b"".join(early)) is Damaged
    assert refusal(b"".join(unflagged)) is Damaged


@pytest.mark.parametrize("frame", frames(), ids=lambda frame: str(frame.NAME))
def test_a_frame_is_read_as_it_was_written(frame: Frame) -> None:
    assert unpack_frame(pack_frame(frame)) == frame


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"[]",
        b"null",
        b'{"frame":"other"}',
        b'{"frame":["account"]}',
        b'{"frame":"account","userId":"x"}',
        b'{"frame":"account","userId":7}',
        b'{"frame":"header","createdAt":1e99,"purpose":"backup","hasFiles":false}',
        b'{"frame":"header","createdAt":-1,"purpose":"backup","hasFiles":false}',
        b'{"frame":"header","createdAt":true,"purpose":"backup","hasFiles":false}',
        b'{"frame":"contacts","contacts":[1]}',
        b'{"frame":"contacts","contacts":' + b"[" * 100_000,
        b'{"frame":"messages","conversationId":"00000000-0000-0000-0000-000000000015","entries":['
        + b"{}," * 2_000
        + b"{}]}",
        b'{"frame":"settings","timers":[{"conversationId":"00000000-0000-0000-0000-000000000015","seconds":"1"}]}',
    ],
)
def test_a_frame_of_another_shape_is_refused(packed: bytes) -> None:
    with pytest.raises(Damaged):
        unpack_frame(packed)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"v":1}', "[" * 1_000])
def test_a_content_that_no_device_would_take_is_refused_before_the_import(content: str) -> None:
    messages = MessagesFrame(DIRECT, (Entry("content", BO, 1, content),))

    assert refusal(archive_of([*frames()[:2], CONVERSATIONS, messages])) is Damaged


def test_a_recovery_key_is_written_and_typed() -> None:
    key = new_recovery_key()

    assert read_recovery_key(show_recovery_key(key).lower().replace("-", " ")) == key
    with pytest.raises(MistypedKey, match="14 groups"):
        read_recovery_key("abc")
