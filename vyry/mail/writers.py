"""Who has written where: noted once for each member, with the first post that this process takes from them.

Theory: receipts and groups ask whether somebody has answered (vyry/mail/receipts.py, vyry/conversations/groups.py), and no post may pay for it. So each
process remembers who was noted, and asks the database only about others, in one statement for a batch.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

from vyry.conversations.conversations import ConversationStore
from vyry.errors import Unavailable
from vyry.kernel.ids import ConversationId, UserId


#: So many are remembered; then it begins again, which costs statements that change nothing.
_MAX_REMEMBERED: Final = 200_000


class Writer(NamedTuple):
    """A member who posted to others. Whoever comes back into a group is another member: `joined_at` differs."""

    conversation_id: ConversationId
    user_id: UserId
    joined_at: datetime


class WriterLog:
    """Notes who has written where."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._recorded: set[Writer] = set()
        self._pending: set[Writer] = set()

    async def record(self, writers: Collection[Writer]) -> Collection[Writer]:
        """Have these noted, unless they are; answers those that are new. While the database is away they wait for the next call."""
        self._pending |= {each for each in writers if each not in self._recorded}
        if not self._pending:
            return ()
        asked = frozenset(self._pending)
        try:
            await self._store.note_writers([(each.conversation_id, each.user_id) for each in asked])
        except Unavailable:
            return ()
        self._pending -= asked
        if len(self._recorded) >= _MAX_REMEMBERED:
            self._recorded.clear()
        self._recorded |= asked
        return asked
