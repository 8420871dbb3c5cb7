"""The state of the screen, read from the client: the conversations, the open one, and the names of users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from textual.content import Content

from vyry.cli.client.chat.pending_decisions import PendingDecisions
from vyry.cli.client.chat.rendering import event_text, render_alert, render_row, short_name
from vyry.cli.client.chat.transcript import (
    ALERTS,
    CONVERSATION_ALERTS,
    PERSISTENT_ALERTS,
    Row,
    build_rows,
    delivery_mark,
)
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import DisplayNames, group_label
from vyry.client.api.client import Client
from vyry.client.store.events import Announcement, ContentEvent, Event, IdentityChanged, NotSent, Target


#: Rows that are shown at first, and that each scroll above the first row adds.
PAGE_SIZE: Final = 100
_MAX_UNREAD_SHOWN: Final = 50
_MAX_NAMES_SHOWN: Final = 3


@dataclass(slots=True)
class ChatModel:
    """`conversations`: as the node lists them; `order`: the latest first; `open_id`: the one that is shown."""

    client: Client
    me: UUID
    names: DisplayNames
    conversations: dict[UUID, Mapping[str, Any]] = field(default_factory=dict)
    order: list[UUID] = field(default_factory=list)
    open_id: UUID | None = None
    rows: Sequence[Row] = ()
    limit: int = PAGE_SIZE
    #: The message at which the cursor is placed with the next rows.
    jump_to: Target | None = None
    alerts: list[Event] = field(default_factory=list)
    #: Columns for text; None until the screen has been laid out.
    width: int | None = None
    pending: PendingDecisions = field(init=False)

    def __post_init__(self) -> None:
        self.pending = PendingDecisions(self.client, self.name_of)

    async def load(self) -> None:
        """Ask the node for all conversations. Raises Refused, Unreachable."""
        listed = await self.client.conversations.list()
        self.conversations = {UUID(each["conversationId"]): each for each in listed}
        newest = sorted(
            self.conversations, key=lambda each: self.conversations[each]["lastActivityAt"] or "", reverse=True
        )
        self.order = [each for each in self.order if each in self.conversations] or newest
        self.order += [each for each in newest if each not in self.order]
        for each in self.order[:PAGE_SIZE]:
            for other in self.other_members(each)[:_MAX_NAMES_SHOWN]:
                await self.names.load(other)

    def record_event(self, event: Event) -> None:
        """Record an event; alerts, which no history contains, are kept here."""
        if isinstance(event, ALERTS):
            self.alerts.append(event)
        if isinstance(event, ContentEvent) and event.conversation_id in self.order:
            self.order.remove(event.conversation_id)
            self.order.insert(0, event.conversation_id)

    async def load_rows(self) -> list[Content]:
        """The rows of the open conversation."""
        self.pending.refresh(self.order, self.open_id)
        if self.open_id is None:
            announced = [Row(each) for each in self.alerts if isinstance(each, Announcement)]
            return [render_row(each, self.name_of, "") for each in announced]
        alerts = [each for each in self.alerts if self._is_shown_here(each)]
        history = self.client.conversations.history(self.open_id, self.limit)
        self.rows = build_rows([*history, *alerts])
        for person in self._shown_accounts():
            await self.names.load(person)
        shown = (render_row(each, self.name_of, self._delivery_mark(each), self.width) for each in self.rows)
        return [*shown, *self._persistent_rows()]

    def _is_shown_here(self, event: Event) -> bool:
        """Whether an alert is a row of the open conversation; pending decisions are shown below the rows."""
        if isinstance(event, IdentityChanged):
            return event.user_id in self.pending.account_ids()
        if isinstance(event, NotSent) and event.is_kept:
            return False
        if isinstance(event, CONVERSATION_ALERTS):
            return event.conversation_id == self.open_id
        return not isinstance(event, PERSISTENT_ALERTS)

    def _persistent_rows(self) -> list[Content]:
        """The rows at the bottom: persistent alerts and pending decisions."""
        persistent = [event_text(each, self.name_of) for each in self.alerts if isinstance(each, PERSISTENT_ALERTS)]
        return [render_alert(each) for each in (*persistent, *self.pending.summary_rows(self.open_id))]

    def _shown_accounts(self) -> set[UUID]:
        """The accounts whose names the rows show."""
        events = [each.event for each in self.rows]
        about = {UUID(each.body["userId"]) for each in events if "userId" in each.body}
        senders = {each.sender_id for each in events if isinstance(each, ContentEvent)}
        return {*about, *senders, *self.pending.account_ids()}

    def title(self, conversation_id: UUID) -> str:
        """The title of a conversation, else the names of its members."""
        listed = self.conversations.get(conversation_id, {})
        others = self.other_members(conversation_id)
        named = ", ".join(self.name_of(each) for each in others[:_MAX_NAMES_SHOWN])
        more = f" and {len(others) - _MAX_NAMES_SHOWN} more" if len(others) > _MAX_NAMES_SHOWN else ""
        return short_name(group_label(listed["title"]) if listed.get("title") else f"{named}{more}" or "Only you")

    def conversation_lines(self) -> list[tuple[UUID, Content]]:
        """The list of conversations."""
        return [(each, self._conversation_line(each)) for each in self.order]

    def _conversation_line(self, conversation_id: UUID) -> Content:
        """One line of the list of conversations."""
        unread = len(self.client.conversations.unread(conversation_id, _MAX_UNREAD_SHOWN))
        mark = f" ({unread}{'+' if unread == _MAX_UNREAD_SHOWN else ''})" if unread else ""
        decide = self.pending.summary(conversation_id)
        return Content.assemble(
            ("! " if decide else "", "bold $error"),
            (self.title(conversation_id), "bold" if unread else ""),
            (mark, "$accent"),
            (f"\n  decision needed: {decide}" if decide else "", "$error"),
        )

    def require_open(self) -> UUID:
        """The open conversation. Raises CommandFailed."""
        if self.open_id is None:
            raise CommandFailed(Exit.NOT_FOUND, "No conversation is open. Start one with `vyry client chat WHO`.")
        return self.open_id

    def other_members(self, conversation_id: UUID) -> list[UUID]:
        """The other members; in a direct conversation the user that it is pinned to."""
        peer = self.client.conversations.peer(conversation_id)
        if peer is not None:
            return [peer]
        members = [UUID(each["userId"]) for each in self.conversations.get(conversation_id, {}).get("members", ())]
        return [each for each in members if each != self.me]

    def name_of(self, user_id: UUID) -> str:
        """The cached name of a user, else the id."""
        return "You" if user_id == self.me else self.names.cached.get(user_id, str(user_id))

    def _delivery_mark(self, row: Row) -> str:
        if self.open_id is None or row.target is None or not row.is_own:
            return ""
        if row.target.id in self.pending.unsent:
            return "waits"
        return delivery_mark(self.client.conversations.receipts(row.target.id), len(self.other_members(self.open_id)))


def has_title(conversation: Mapping[str, Any] | None) -> bool:
    """Whether the title of a conversation is known: the key that decrypts it may arrive after the group."""
    return conversation is not None and (conversation["kind"] == "direct" or conversation["title"] is not None)
