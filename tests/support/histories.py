"""Profiles with a history of every kind of event, and what two stores show of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, mark_verified
from vyry.client.store import kinds
from vyry.client.store.archived_conversations import ArchivedConversations
from vyry.client.store.conversation_pins import ConversationPin, ConversationPins
from vyry.client.store.events import (
    Attachment,
    ContentEvent,
    Edit,
    Event,
    Location,
    MemberAdded,
    Message,
    Reaction,
    Target,
    TimerSet,
    Unknown,
    Unreadable,
    Unsend,
)
from vyry.client.store.journal import Journal, KnownContent, ReadReceipts
from vyry.client.store.remembered_names import RememberedNames
from vyry.client.store.store import Store


NOW: Final = 1_800_000_000_000
ME, BO, CAI = (UUID(int=number) for number in (11, 12, 13))
DIRECT, GROUP = (UUID(int=number) for number in (21, 22))
_NAMES: Final = UUID(int=1)


def new_store(folder: Path, user_id: UUID = ME) -> Store:
    """The store of a registered profile in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder / "vyry.db", bytes(32))
    if LocalDevice.load_or_none(store) is None:
        LocalDevice.generate(user_id, 1).save(store)
    return store


def message(number: int, conversation_id: UUID = DIRECT, sender_id: UUID = BO, **fields: object) -> Message:
    """A message; the same number is the same message."""
    return Message(
        conversation_id=conversation_id,
        sender_id=sender_id,
        sender_device_id=1,
        id=uuid5(_NAMES, f"{conversation_id}/{number}"),
        at=NOW - 1_000_000 + number * 1_000,
        is_own=sender_id == ME,
        text=str(fields.pop("text", f"message {number}")),
        **fields,  # type: ignore[arg-type]
    )


def add(store: Store, event: Event) -> None:
    """The event as this device received it."""
    number = Journal(store).add(event, is_handled=True)
    if isinstance(event, ContentEvent):
        known = KnownContent(event.conversation_id, event.at, (event.sender_device_id,), number)
        Journal(store).remember_content(event.id, event.sender_id, known, NOW)


def fill(store: Store) -> None:
    """Two conversations with every kind of event, names, keys, a title and a timer."""
    with store.transaction():
        _fill(store)


def _fill(store: Store) -> None:
    pins, peers = ConversationPins(store), Peers(store)
    pins.save(DIRECT, ConversationPin(is_group=False, peer=BO))
    pins.save(GROUP, ConversationPin(is_group=True, members=(BO, CAI), version=3))
    ArchivedConversations(store).save_title(GROUP, "Alpine club")
    RememberedNames(store).save("@bo", BO)
    RememberedNames(store).save("+4915112345678", BO)
    peers.save_identity(BO, b"\1" * 32)
    mark_verified(store, BO, is_verified=True)
    peers.save_identity(CAI, b"\2" * 32)
    store.put(kinds.PROFILE_KEY, str(BO), b"\3" * 32)
    store.put(kinds.TIMER, str(GROUP), b"60")
    for event in _events():
        add(store, event)
    ReadReceipts(store).mark_read(message(1).target, NOW)
    ReadReceipts(store).record_receipt(message(2, sender_id=ME).id, BO, "read", NOW)


def _events() -> Sequence[Event]:
    first, own = message(1), message(2, sender_id=ME)
    sender = {"conversation_id": DIRECT, "sender_id": BO, "sender_device_id": 1}
    file = Attachment(
        UUID(int=5), b"k" * 32, b"d" * 32, 1_234, "image/png", "a.png", {"width": 3, "isVoiceNote": False}
    )
    reply = message(
        3, reply_to=first.target, reply_text="message", attachments=(file,), extra={"future": [1, {"a": "ü"}]}
    )
    return (
        first,
        own,
        reply,
        Edit(**sender, id=UUID(int=31), at=NOW, of=first.target, text="changed"),  # type: ignore[arg-type]
        Reaction(**sender, id=UUID(int=32), at=NOW, of=own.target, emoji="👍"),  # type: ignore[arg-type]
        Reaction(**sender, id=UUID(int=33), at=NOW, of=own.target, emoji=None),  # type: ignore[arg-type]
        Unsend(**sender, id=UUID(int=34), at=NOW, of=Target(reply.id, BO)),  # type: ignore[arg-type]
        Location(**sender, id=UUID(int=35), at=NOW, latitude=-1.5, longitude=100.0, label="here"),  # type: ignore[arg-type]
        TimerSet(**sender, id=UUID(int=36), at=NOW, seconds=0),  # type: ignore[arg-type]
        Unknown(**sender, id=UUID(int=37), at=NOW, kind="poll", extra={"question": "when?"}),  # type: ignore[arg-type]
        MemberAdded(conversation_id=GROUP, user_id=CAI, is_verified=False),
        message(4, GROUP, CAI),
        Unreadable(
            conversation_id=GROUP, sender_id=BO, sender_device_id=1, message_id=UUID(int=41), reason="NoSession"
        ),
        message(5, GROUP, CAI),
    )


def shown(store: Store, conversation_id: UUID) -> list[object]:
    """What a device shows of a conversation: events in order, with their state."""
    receipts = ReadReceipts(store)
    return [
        (event, receipts.is_read(event.target), dict(receipts.receipts(event.id)))
        if isinstance(event, ContentEvent)
        else event
        for event in Journal(store).history(conversation_id, 1_000_000)
    ]
