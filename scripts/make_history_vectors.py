"""`python -m scripts.make_history_vectors FILE`: the vectors of archives (docs/history.md) of a fixed key and salt: archives that are read, and changed ones with their refusal."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from vyry.client.history.errors import Damaged
from vyry.client.history.frames import (
    AccountFrame,
    Contact,
    Contacts,
    ConversationsFrame,
    Entry,
    FilePart,
    Frame,
    Header,
    MessagesFrame,
    Settings,
    pack_frame,
)
from vyry.client.history.reading import FrameOrder
from vyry.client.history.sealing import PREFIX_BYTES, FrameSealer, show_recovery_key
from vyry.client.history.vectors import TOPIC
from vyry.client.store.archived_conversations import ArchivedConversation
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.vectors import SUITE, VERSION


Case = dict[str, Any]
KEY: Final = bytes(range(32))
NOW: Final = 1_800_000_000_000
ANN, BO, DIRECT, GROUP = (UUID(bytes=hashlib.sha256(each).digest()[:16]) for each in (b"1", b"2", b"3", b"4"))
START: Final = (Header(NOW, "backup", None, has_files=False), AccountFrame(ANN))


def main(path: Path) -> None:
    """Write the file."""
    file = {"suite": SUITE, "version": VERSION, "topic": TOPIC, "cases": cases()}
    path.write_text(json.dumps(file, indent=1) + "\n", encoding="utf-8")


def cases() -> list[Case]:
    """Every case."""
    return [*_archives(), *_refused(), *_recovery_keys()]


def _archives() -> Iterator[Case]:
    for name, frames in (("an empty history", START), ("one frame of each kind", _whole())):
        order = FrameOrder()
        for frame in frames:
            order.add(frame, pack_frame(frame), is_last=False)
        shown = [{"frame": frame.NAME, **frame.fields()} for frame in (*frames, order.end())]
        archive = encode_base64(b"".join(_parts(frames)))
        yield {"name": name, "key": encode_base64(KEY), "archive": archive, "frames": shown}


def _refused() -> Iterator[Case]:
    prefix, *parts = _parts(_whole())
    other_prefix, *others = _parts(_whole(), b"other")
    changes: dict[str, tuple[str, Sequence[bytes]]] = {
        "cut in a frame": ("cut", [prefix, *parts[:-1], parts[-1][:-1]]),
        "cut between two frames": ("cut", [prefix, *parts[:-1]]),
        "cut in the prefix": ("cut", [prefix[: PREFIX_BYTES - 1]]),
        "two frames in the other order": ("damaged", [prefix, parts[1], parts[0], *parts[2:]]),
        "a frame twice": ("damaged", [prefix, parts[0], *parts]),
        "a frame left out": ("damaged", [prefix, *parts[:2], *parts[3:]]),
        "a frame of another archive under the same key": ("damaged", [prefix, parts[0], others[1], *parts[2:]]),
        "the prefix of another archive": ("damaged", [other_prefix, *parts]),
        "bytes behind the end": ("damaged", [prefix, *parts, b"\0"]),
        "a length of 2 GiB": ("damaged", [prefix, b"\x7f\xff\xff\xff", *parts]),
        "a frame without content": ("damaged", [prefix, (16).to_bytes(4), bytes(16), *parts]),
        "the last flag on the first frame": ("damaged", [prefix, _flagged(parts[0]), *parts[1:]]),
        "a newer version": ("newerVersion", [prefix[:8] + b"\2" + prefix[9:], *parts]),
        "another file": ("notAnArchive", [b"PK\3\4", prefix, *parts]),
        "no bytes": ("notAnArchive", []),
        "a message of a conversation that was not named": ("damaged", _parts([*START, _messages()])),
        "contacts behind messages": ("damaged", _parts([*_whole(), Contacts(())])),
        "an archive that begins with its account": ("damaged", _parts(START[1:])),
    }
    for name, (refusal, archive) in changes.items():
        yield {"name": name, "key": encode_base64(KEY), "archive": encode_base64(b"".join(archive)), "refusal": refusal}
    whole = encode_base64(b"".join([prefix, *parts]))
    yield {"name": "another key", "key": encode_base64(bytes(32)), "archive": whole, "refusal": "wrongKey"}


def _recovery_keys() -> Iterator[Case]:
    shown, key = show_recovery_key(KEY), encode_base64(KEY)
    changes: dict[str, Callable[[str], str]] = {
        "a recovery key": str,
        "in lower case with spaces": lambda text: text.lower().replace("-", " "),
        "with O for 0 and L for 1": lambda text: text.replace("0", "O").replace("1", "L"),
    }
    for name, change in changes.items():
        yield {"name": name, "recoveryKey": change(shown), "key": key}
    for name, typed in (("one wrong character", "1" + shown[1:]), ("too short", shown[:-5]), ("no text", "")):
        yield {"name": name, "recoveryKey": typed, "refusal": "mistypedKey"}


def _messages() -> MessagesFrame:
    text = Content("text", UUID(int=1), NOW - 2_000, DIRECT, {"text": "Gr\u00fc\u00dfe \U0001f44b"}).pack().decode()
    target = {"target": {"id": str(UUID(int=1)), "senderId": str(ANN)}, "emoji": "\U0001f44d"}
    reaction = Content("reaction", UUID(int=2), NOW - 1_000, DIRECT, target).pack().decode()
    entries = (
        Entry("content", ANN, 1, text, receipts={BO: "read"}),
        Entry("content", BO, 2, reaction, is_read=True),
        Entry("unreadable", BO, 2, message_id=UUID(int=3), reason="NoSession"),
    )
    return MessagesFrame(DIRECT, entries)


def _whole() -> Sequence[Frame]:
    contact = Contact(BO, ("@bo", "+4915112345678"), bytes(32), is_verified=True, decided_at=5, profile_key=KEY)
    conversations = (
        ArchivedConversation(DIRECT, "direct", BO),
        ArchivedConversation(GROUP, "group", None, (BO,), "Alpine club"),
    )
    added = MessagesFrame(GROUP, (Entry("memberAdded", BO, is_verified=True),))
    files = (FilePart(UUID(int=7), 5, 0, b"abc"), FilePart(UUID(int=7), 5, 3, b"de"))
    named = (Contacts((contact,)), ConversationsFrame(conversations))
    return (*START, *named, _messages(), added, *files, Settings({GROUP: 86_400}))


def _parts(frames: Sequence[Frame], salt: bytes = b"salt") -> list[bytes]:
    """The prefix and each sealed frame, the end behind them; a frame that is not allowed there is sealed too."""
    sealer, order = FrameSealer(KEY, hashlib.sha256(salt).digest()), FrameOrder()
    parts = [sealer.prefix]
    for frame in frames:
        packed = pack_frame(frame)
        parts.append(sealer.seal(packed))
        with suppress(Damaged):
            order.add(frame, packed, is_last=False)
    return [*parts, sealer.seal(pack_frame(order.end()), is_last=True)]


def _flagged(part: bytes) -> bytes:
    return bytes((part[0] | 0x80,)) + part[1:]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
