"""What has to be decided, as the screen shows it: in a few words for each conversation, and as rows below what was said."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from vyry.cli.client.chat.painting import name
from vyry.cli.client.deciding import short
from vyry.client.client import Client
from vyry.client.decisions import Decision


@dataclass(slots=True)
class Waiting:
    """Decisions, and own messages of the open conversation that the node does not have, as of the last look."""

    client: Client
    name_of: Callable[[UUID], str]
    decisions: Sequence[Decision] = ()
    unsent: frozenset[UUID] = frozenset()

    def look(self, among: Iterable[UUID], open_one: UUID | None) -> None:
        """Read them again, for these conversations, and what waits to be sent in the open one."""
        found = self.client.conversations.decisions
        self.decisions = found.all([*among, *([open_one] if open_one else [])])
        self.unsent = found.unsent(open_one) if open_one else frozenset()

    def people(self) -> set[UUID]:
        """The accounts that they are about."""
        return {each.user_id for each in self.decisions if each.user_id is not None}

    def in_short(self, conversation_id: UUID) -> str:
        """What is to be decided there, in a few words; empty when nothing is."""
        here = self._of(conversation_id)
        return short(here, [name(self.name_of(each.user_id)) if each.user_id else "" for each in here])

    def row(self, conversation_id: UUID | None) -> list[str]:
        """The row for it, with the next key to press; none when nothing is to be decided."""
        here = self.in_short(conversation_id) if conversation_id is not None else ""
        if conversation_id is None or not here:
            return []
        is_key = any(each.decide == "identityChanged" for each in self._of(conversation_id))
        return [f"Decide: {here}{'. Ctrl+T compares the numbers.' if is_key else ''}"]

    def _of(self, conversation_id: UUID) -> list[Decision]:
        return [each for each in self.decisions if each.conversation_id == conversation_id]
