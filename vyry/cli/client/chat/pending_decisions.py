"""What has to be decided, as the screen shows it: in a few words for each conversation, and as rows below what was said."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from vyry.cli.client.chat.rendering import short_name
from vyry.cli.client.decision_texts import summarize_decisions
from vyry.client.api.client import Client
from vyry.client.sync.pending_decisions import Decision


@dataclass(slots=True)
class PendingDecisions:
    """Decisions, and own messages of the open conversation that the node does not have, as of the last look."""

    client: Client
    name_of: Callable[[UUID], str]
    decisions: Sequence[Decision] = ()
    unsent: frozenset[UUID] = frozenset()

    def refresh(self, conversation_ids: Iterable[UUID], open_id: UUID | None) -> None:
        """Read them again, for these conversations, and what waits to be sent in the open one."""
        found = self.client.conversations.decisions
        self.decisions = found.all([*conversation_ids, *([open_id] if open_id else [])])
        self.unsent = found.unsent(open_id) if open_id else frozenset()

    def account_ids(self) -> set[UUID]:
        """The accounts that they are about."""
        return {each.user_id for each in self.decisions if each.user_id is not None}

    def summary(self, conversation_id: UUID) -> str:
        """What is to be decided there, in a few words; empty when nothing is."""
        here = self._for_conversation(conversation_id)
        return summarize_decisions(
            here, [short_name(self.name_of(each.user_id)) if each.user_id else "" for each in here]
        )

    def summary_rows(self, conversation_id: UUID | None) -> list[str]:
        """The row for it, with the next key to press; none when nothing is to be decided."""
        here = self.summary(conversation_id) if conversation_id is not None else ""
        if conversation_id is None or not here:
            return []
        is_key = any(each.decide == "identityChanged" for each in self._for_conversation(conversation_id))
        return [f"Decide: {here}{'. Ctrl+T compares the numbers.' if is_key else ''}"]

    def _for_conversation(self, conversation_id: UUID) -> list[Decision]:
        return [each for each in self.decisions if each.conversation_id == conversation_id]
