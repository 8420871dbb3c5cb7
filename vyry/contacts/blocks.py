"""Blocks. Between two people of whom one blocks the other nothing goes: each is to the other like somebody who does not exist, but for groups of both.

A block ends their friendship and their requests, and changes the version of their direct conversation, by which every post is guarded: no node posts on
what it remembers.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from vyry.accounts.account import AccountListener, Caller
from vyry.clock import Clock
from vyry.errors import InvalidRequest
from vyry.kernel.ids import ConversationId, UserId


#: So many people one can block.
MAX_BLOCKS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Block:
    """Somebody who is blocked. Of them only the id is told: more would tell whether they block, too."""

    user_id: UserId
    at: datetime


@dataclass(frozen=True, slots=True)
class BlockPage:
    """A part of somebody's blocks, by rising id; `next_cursor` is None at the end."""

    blocks: Sequence[Block]
    next_cursor: UserId | None


class BlockStore(Protocol):
    """Where blocks are kept. Everything between two people happens one after the other."""

    async def block(self, owner: UserId, other: UserId, now: datetime) -> ConversationId | None:
        """Block, and end what is between the two; answers their direct conversation if it changed for that. Blocking again changes nothing.

        Raises NotFound when there is no such account, or it blocks the owner and shares no conversation that would show it; Forbidden (too many).
        """
        ...

    async def unblock(self, owner: UserId, other: UserId) -> ConversationId | None:
        """Take a block back; answers the direct conversation that changed. Raises NotFound when there is none."""
        ...

    async def list(self, owner: UserId, limit: int, after: UserId | None) -> BlockPage:
        """The blocks of people whose ids lie beyond `after`."""
        ...


class ConversationListener(Protocol):
    """Is notified when a conversation changes, so that all nodes drop what they have cached of it. Best effort, never raises."""

    async def conversations_changed(self, ids: Collection[ConversationId]) -> None:
        """These conversations have a new version."""
        ...


class BlockListener(AccountListener, ConversationListener, Protocol):
    """Is notified of both: a block changes two accounts and their direct conversation."""


class Blocks:
    """What a person may do about blocks."""

    def __init__(self, store: BlockStore, clock: Clock, listener: BlockListener) -> None:
        self._store = store
        self._clock = clock
        self._listener = listener

    async def block(self, caller: Caller, other: UserId) -> None:
        """From now on the two do not exist for each other. Raises InvalidRequest (oneself), NotFound, Forbidden (too many)."""
        if other == caller.user_id:
            raise InvalidRequest(fields=[{"field": "userId", "problem": "this is yourself"}])
        await self._announce(caller, other, await self._store.block(caller.user_id, other, self._clock.now()))

    async def unblock(self, caller: Caller, other: UserId) -> None:
        """Take a block back. Raises NotFound."""
        await self._announce(caller, other, await self._store.unblock(caller.user_id, other))

    async def list(self, caller: Caller, limit: int, after: UserId | None) -> BlockPage:
        """Whom the caller blocks."""
        return await self._store.list(caller.user_id, limit, after)

    async def _announce(self, caller: Caller, other: UserId, conversation: ConversationId | None) -> None:
        await self._listener.accounts_changed({caller.user_id, other})
        if conversation is not None:
            await self._listener.conversations_changed([conversation])
