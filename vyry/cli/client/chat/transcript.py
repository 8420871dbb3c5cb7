"""A conversation as it stands: edits, reactions and what was taken back are let count. Pure: events in, rows out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from vyry.client.store.events import (
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


#: What happened to this device or to somebody's keys; it stands in no history, and is shown in the row of its own number.
ALERTS: Final = (
    Lost
    | NotSent
    | IdentityChanged
    | OwnIdentityForged
    | OwnDeviceAdded
    | ConversationForged
    | MemberForged
    | DeviceListDiffers
)
#: Alerts about one conversation: they are shown there alone.
CONVERSATION_ALERTS: Final = NotSent | ConversationForged | MemberForged
#: Alerts that stay below everything that is said, in every conversation, until the client ends.
PERSISTENT_ALERTS: Final = OwnIdentityForged


@dataclass(slots=True)
class Row:
    """One row: what was said, as it stands now."""

    event: Event
    text: str = ""
    is_edited: bool = False
    is_unsent: bool = False
    reactions: dict[UUID, str] = field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """Whether one said it oneself."""
        return isinstance(self.event, ContentEvent) and self.event.is_own

    @property
    def target(self) -> Target | None:
        """What an answer would point at; None for what nobody said, or was taken back."""
        is_said = isinstance(self.event, Message | Location) and not self.is_unsent
        return self.event.target if is_said and isinstance(self.event, ContentEvent) else None


def build_rows(events: Iterable[Event]) -> list[Row]:
    """The rows of these events, by their numbers. What is about something older than all of them is left out."""
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
    """The row of what was said, if it is shown."""
    return next((each for each in shown if target is not None and each.target == target), None)


def delivery_mark(receipts: Mapping[UUID, str], others: int) -> str:
    """How far something one said has come with all the others: sent, delivered, read."""
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
