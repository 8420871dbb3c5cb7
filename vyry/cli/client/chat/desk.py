"""What the screen shows, taken from the client: the conversations, one of them open, and the names of people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from textual.content import Content

from vyry.cli.client.chat.painting import alert, event_words, name, painted
from vyry.cli.client.chat.transcript import ALERTS, OF_ONE, STANDING, Row, rows, tick
from vyry.cli.client.chat.waiting import Waiting
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.naming import Names, titled
from vyry.client.client import Client
from vyry.client.events import Event, IdentityChanged, NotSent, Said


#: So many rows are shown at first, and more each time somebody looks above them.
PAGE: Final = 100
_UNREAD: Final = 50
_NAMED: Final = 3


@dataclass(slots=True)
class Desk:
    """`told`: what the node said of each conversation; `order`: the latest first; `open`: the one that is shown."""

    client: Client
    me: UUID
    names: Names
    told: dict[UUID, Mapping[str, Any]] = field(default_factory=dict)
    order: list[UUID] = field(default_factory=list)
    open: UUID | None = None
    rows: Sequence[Row] = ()
    limit: int = PAGE
    alerts: list[Event] = field(default_factory=list)
    #: How many columns a text has on the screen; None: not known yet.
    width: int | None = None
    waiting: Waiting = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = Waiting(self.client, self.name_of)

    async def load(self) -> None:
        """Ask the node for all conversations. Raises Refused, Unreachable."""
        listed = await self.client.conversations.list()
        self.told = {UUID(each["conversationId"]): each for each in listed}
        newest = sorted(self.told, key=lambda each: self.told[each]["lastActivityAt"] or "", reverse=True)
        self.order = [each for each in self.order if each in self.told] or newest
        self.order += [each for each in newest if each not in self.order]
        for each in self.order[:PAGE]:
            for other in self.others(each)[:_NAMED]:
                await self.names.of(other)

    def note(self, event: Event) -> None:
        """Something happened: what stands in no history is remembered here."""
        if isinstance(event, ALERTS):
            self.alerts.append(event)
        if isinstance(event, Said) and event.conversation_id in self.order:
            self.order.remove(event.conversation_id)
            self.order.insert(0, event.conversation_id)

    async def read(self) -> list[Content]:
        """The open conversation as it stands now, row by row."""
        self.waiting.look(self.order, self.open)
        if self.open is None:
            return []
        alerts = [each for each in self.alerts if self._is_here(each)]
        history = self.client.conversations.history(self.open, self.limit)
        self.rows = rows([*history, *alerts])
        for person in self._people():
            await self.names.of(person)
        shown = (painted(each, self.name_of, self._tick(each), self.width) for each in self.rows)
        return [*shown, *self._standing()]

    def _is_here(self, event: Event) -> bool:
        """Whether an alert is a row of the open conversation: what waits for a decision stands below, as long as it does."""
        if isinstance(event, IdentityChanged):
            return event.user_id in self.waiting.people()
        if isinstance(event, NotSent) and event.is_kept:
            return False
        if isinstance(event, OF_ONE):
            return event.conversation_id == self.open
        return not isinstance(event, STANDING)

    def _standing(self) -> list[Content]:
        """Rows below everything that was said: what has to be decided, and what must not be missed."""
        lasting = [event_words(each, self.name_of) for each in self.alerts if isinstance(each, STANDING)]
        return [alert(each) for each in (*lasting, *self.waiting.row(self.open))]

    def _people(self) -> set[UUID]:
        """The accounts whose names the rows show."""
        events = [each.event for each in self.rows]
        about = {UUID(each.body["userId"]) for each in events if "userId" in each.body}
        said = {each.sender_id for each in events if isinstance(each, Said)}
        return {*about, *said, *self.waiting.people()}

    def title(self, conversation_id: UUID) -> str:
        """What a conversation is called: its title, else who is in it."""
        told = self.told.get(conversation_id, {})
        others = self.others(conversation_id)
        named = ", ".join(self.name_of(each) for each in others[:_NAMED])
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        return name(titled(told["title"]) if told.get("title") else f"{named}{more}" or "Only you")

    def lines(self) -> list[tuple[UUID, Content]]:
        """The list of conversations."""
        return [(each, self._line(each)) for each in self.order]

    def _line(self, conversation_id: UUID) -> Content:
        """A conversation in the list."""
        unread = len(self.client.conversations.unread(conversation_id, _UNREAD))
        mark = f" ({unread}{'+' if unread == _UNREAD else ''})" if unread else ""
        decide = self.waiting.in_short(conversation_id)
        return Content.assemble(
            ("! " if decide else "", "bold $error"),
            (self.title(conversation_id), "bold" if unread else ""),
            (mark, "$accent"),
            (f"\n  decide: {decide}" if decide else "", "$error"),
        )

    def where(self) -> UUID:
        """The open conversation. Raises Ended."""
        if self.open is None:
            raise Ended(Exit.NOT_FOUND, "No conversation is open: begin one with `vyry client chat WHO`.")
        return self.open

    def others(self, conversation_id: UUID) -> list[UUID]:
        """Everybody there but oneself; in a direct conversation the one whom it is pinned to."""
        peer = self.client.conversations.peer(conversation_id)
        if peer is not None:
            return [peer]
        members = [UUID(each["userId"]) for each in self.told.get(conversation_id, {}).get("members", ())]
        return [each for each in members if each != self.me]

    def name_of(self, user_id: UUID) -> str:
        """A name as far as it was asked for."""
        return "You" if user_id == self.me else self.names.known.get(user_id, str(user_id))

    def _tick(self, row: Row) -> str:
        if self.open is None or row.target is None or not row.is_own:
            return ""
        if row.target.id in self.waiting.unsent:
            return "waits"
        return tick(self.client.conversations.receipts(row.target.id), len(self.others(self.open)))


def is_named(told: Mapping[str, Any] | None) -> bool:
    """Whether it is known what a conversation is called: the key of a title may come after the group."""
    return told is not None and (told["kind"] == "direct" or told["title"] is not None)
