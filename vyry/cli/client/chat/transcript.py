"""Builds the rows of a conversation with edits, reactions and unsent messages applied. Pure functions: events in, rows out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from vyry.client.store.events import (
    Announcement,
    ContentEvent,
    ConversationForged,
    DeviceListDiffers,
    Edit,
    Event,
    IdentityChanged,
    Location,
    Lost,
    MemberAdded,
    MemberForged,
    Message,
    NotSent,
    OwnDeviceAdded,
    OwnIdentityForged,
    Reaction,
    Target,
    Unreadable,
    Unsend,
)


#: Events about this device or about keys of users, and announcements of the operator. No history contains them; they are shown in the order of their numbers.
ALERTS: Final = (
    Announcement
    | Lost
    | NotSent
    | IdentityChanged
    | OwnIdentityForged
    | OwnDeviceAdded
    | ConversationForged
    | MemberForged
    | DeviceListDiffers
)
#: Alerts about one conversation, shown only there.
CONVERSATION_ALERTS: Final = NotSent | ConversationForged | MemberForged
#: Alerts that stay at the bottom of every conversation until the client ends.
PERSISTENT_ALERTS: Final = OwnIdentityForged


@dataclass(slots=True)
class Row:
    """One row: an event with the later changes applied."""

    event: Event
    text: str = ""
    is_edited: bool = False
    is_unsent: bool = False
    reactions: dict[UUID, str] = field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """Whether this account sent it."""
        return isinstance(self.event, ContentEvent) and self.event.is_own

    @property
    def target(self) -> Target | None:
        """The target of a reply; None for alerts and unsent messages."""
        is_message = isinstance(self.event, Message | Location) and not self.is_unsent
        return self.event.target if is_message and isinstance(self.event, ContentEvent) else None


def build_rows(events: Iterable[Event]) -> list[Row]:
    """The rows of these events, ordered by number. Changes of messages that are not among them are ignored."""
    found: dict[Target, Row] = {}
    shown: list[Row] = []
    for event in sorted(events, key=lambda each: each.number):
        if isinstance(event, Edit | Unsend | Reaction):
            _apply_change(found.get(event.of), event)
            continue
        row = Row(event, event.text if isinstance(event, Message) else "")
        if isinstance(event, ContentEvent):
            found[event.target] = row
        if isinstance(event, ContentEvent | Unreadable | MemberAdded | ALERTS):
            shown.append(row)
    return shown


def find_row(shown: Iterable[Row], target: Target | None) -> Row | None:
    """The row of a message, if it is shown."""
    return next((each for each in shown if target is not None and each.target == target), None)


def delivery_mark(receipts: Mapping[UUID, str], others: int) -> str:
    """The mark of an own message: sent, delivered to all, read by all."""
    read = sum(state != "delivered" for state in receipts.values())
    return "✓✓ read" if read >= others > 0 else "✓✓" if len(receipts) >= others > 0 else "✓"


def _apply_change(row: Row | None, event: Edit | Unsend | Reaction) -> None:
    if row is None or row.is_unsent:
        return
    match event:
        case Edit(text=text):
            row.text, row.is_edited = text, True
        case Unsend():
            row.text, row.is_unsent = "", True
            row.reactions.clear()
        case Reaction(emoji=emoji) if emoji:
            row.reactions[event.sender_id] = emoji
        case _:
            row.reactions.pop(event.sender_id, None)
