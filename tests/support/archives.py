"""Archives of a few frames, whole or in parts."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from tests.support.histories import BO, CAI, DIRECT, GROUP, NOW
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
from vyry.client.history.sealing import FrameSealer
from vyry.client.store.archived_conversations import ArchivedConversation


KEY: Final = bytes(range(32))


def frames() -> Sequence[Frame]:
    """One of each kind, without the end."""
    common = f'{{"v":1,"kind":"text","id":"{UUID(int=1)}","at":1,"conversationId":"{DIRECT}"'
    text = f'{common},"text":"hi"}}'
    return (
        Header(NOW, "backup", None, has_files=True),
        AccountFrame(BO),
        Contacts((Contact(CAI, ("@cai",), bytes(32), is_verified=True, decided_at=5, profile_key=b"p" * 32),)),
        ConversationsFrame(
            (
                ArchivedConversation(DIRECT, "direct", CAI),
                ArchivedConversation(GROUP, "group", None, (CAI,), "Alpine club"),
            )
        ),
        MessagesFrame(
            DIRECT,
            (
                Entry("content", BO, 1, text, ends_at=NOW, receipts={CAI: "read"}),
                Entry("memberAdded", CAI, is_verified=True),
                Entry("unreadable", CAI, 2, message_id=UUID(int=9), reason="NoSession"),
            ),
        ),
        FilePart(UUID(int=7), 5, 0, b"abc"),
        FilePart(UUID(int=7), 5, 3, b"de"),
        Settings({GROUP: 60}),
    )


def sealed_parts(some: Sequence[Frame]) -> tuple[bytes, list[bytes]]:
    """The prefix and the sealed frames of an archive, the last of which is its end. The frames are not checked."""
    sealer, order = FrameSealer(KEY), FrameOrder()
    parts = []
    for frame in some:
        packed = pack_frame(frame)
        parts.append(sealer.seal(packed))
        try:
            order.add(frame, packed, is_last=False)
        except Damaged:  # a test makes a wrong archive
            continue
    parts.append(sealer.seal(pack_frame(order.end()), is_last=True))
    return sealer.prefix, parts


def archive_of(some: Sequence[Frame]) -> bytes:
    """The archive of these frames."""
    prefix, parts = sealed_parts(some)
    return prefix + b"".join(parts)
