"""Pending decisions on the screen: a summary for each conversation, and a row below its messages."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from vyry.cli.client.chat.rendering import short_name
from vyry.cli.client.decision_texts import summarize_decisions
from vyry.client.api.client import Client
from vyry.client.sync.pending_decisions import Decision


@dataclass(slots=True)
class PendingDecisions:
    """The decisions, and the unsent messages of the open conversation, as of the last refresh."""

    client: Client
    name_of: Callable[[UUID], str]
    decisions: Sequence[Decision] = ()
    unsent: frozenset[UUID] = frozenset()

    def refresh(self, conversation_ids: Iterable[UUID], open_id: UUID | None) -> None:
        """Read the decisions of these conversations and the unsent messages of the open one."""
        found = self.client.conversations.decisions
        self.decisions = found.all([*conversation_ids, *([open_id] if open_id else [])])
        self.unsent = found.unsent(open_id) if open_id else frozenset()

    def account_ids(self) -> set[UUID]:
        """The accounts of the decisions."""
        return {each.user_id for each in self.decisions if each.user_id is not None}

    def summary(self, conversation_id: UUID) -> str:
        """The decisions of a conversation in a few words; empty without any."""
        here = self._for_conversation(conversation_id)
        return summarize_decisions(
            here, [short_name(self.name_of(each.user_id)) if each.user_id else "" for each in here]
        )

    def summary_rows(self, conversation_id: UUID | None) -> list[str]:
        """The row about the decisions, with the key to press; empty without decisions."""
        here = self.summary(conversation_id) if conversation_id is not None else ""
        if conversation_id is None or not here:
            return []
        is_key = any(each.decide == "identityChanged" for each in self._for_conversation(conversation_id))
        return [f"Decision needed: {here}{'. Press Ctrl+T to compare the safety numbers.' if is_key else ''}"]

    def _for_conversation(self, conversation_id: UUID) -> list[Decision]:
        return [each for each in self.decisions if each.conversation_id == conversation_id]
