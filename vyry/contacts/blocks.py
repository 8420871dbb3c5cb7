"""Blocks. If one of two accounts blocks the other, neither can find or reach the other, except in groups of both.

A block ends their friendship and their requests, and raises the version of their direct conversation. Every post is checked against that version, so
a node with an outdated cache does not deliver either.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from vyry.accounts.account import AccountListener, Caller
from vyry.clock import Clock
from vyry.errors import InvalidRequest
from vyry.kernel.ids import ConversationId, UserId


#: The most blocks of an account.
MAX_BLOCKS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Block:
    """A blocked account. It has the id only: a profile would reveal whether the other account blocks, too."""

    user_id: UserId
    at: datetime


@dataclass(frozen=True, slots=True)
class BlockPage:
    """A page of blocks, ordered by id; `next_cursor` is None on the last page."""

    blocks: Sequence[Block]
    next_cursor: UserId | None


class BlockStore(Protocol):
    """Stores blocks. Changes between the same two accounts are serialised."""

    async def block(self, owner: UserId, other: UserId, now: datetime) -> ConversationId | None:
        """Block an account, and end friendship and requests. Returns the direct conversation if it has changed. Blocking again changes nothing.

        Raises NotFound if there is no such account, or if it blocks the owner and they share no conversation; Forbidden (too many blocks).
        """
        ...

    async def unblock(self, owner: UserId, other: UserId) -> ConversationId | None:
        """Remove a block. Returns the direct conversation if it has changed. Raises NotFound."""
        ...

    async def list(self, owner: UserId, limit: int, after: UserId | None) -> BlockPage:
        """At most `limit` blocks of ids after `after`."""
        ...


class ConversationListener(Protocol):
    """Is notified when a conversation changes, so that all nodes drop what they have cached of it. Best effort, never raises."""

    async def conversations_changed(self, ids: Collection[ConversationId]) -> None:
        """These conversations have a new version."""
        ...


class BlockListener(AccountListener, ConversationListener, Protocol):
    """Is notified of both: a block changes two accounts and their direct conversation."""


class Blocks:
    """Blocks and unblocks accounts."""

    def __init__(self, store: BlockStore, clock: Clock, listener: BlockListener) -> None:
        self._store = store
        self._clock = clock
        self._listener = listener

    async def block(self, caller: Caller, other: UserId) -> None:
        """Block an account. Raises InvalidRequest (the own account), NotFound, Forbidden (too many)."""
        if other == caller.user_id:
            raise InvalidRequest(fields=[{"field": "userId", "problem": "is your own account"}])
        await self._announce(caller, other, await self._store.block(caller.user_id, other, self._clock.now()))

    async def unblock(self, caller: Caller, other: UserId) -> None:
        """Remove a block. Raises NotFound."""
        await self._announce(caller, other, await self._store.unblock(caller.user_id, other))

    async def list(self, caller: Caller, limit: int, after: UserId | None) -> BlockPage:
        """The blocks of the caller."""
        return await self._store.list(caller.user_id, limit, after)

    async def _announce(self, caller: Caller, other: UserId, conversation: ConversationId | None) -> None:
        await self._listener.accounts_changed({caller.user_id, other})
        if conversation is not None:
            await self._listener.conversations_changed([conversation])
