"""Who the others really are: numbers that people compare, and keys that changed (docs/signal-protocol.md, "Safety number")."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from vyry.client.chain import octets
from vyry.client.device import Me
from vyry.client.rest import Rest
from vyry.client.store import Store
from vyry.signal_protocol.safety import fingerprint, safety_number


Accept = Callable[[UUID, bytes], Awaitable[None]]


class Safety:
    """Compares and accepts."""

    def __init__(self, store: Store, rest: Rest, accept: Accept) -> None:
        self._store = store
        self._rest = rest
        self._accept = accept

    async def number(self, user_id: UUID) -> str:
        """60 digits that are the same on both sides when nobody stands between. Raises Refused, Unreachable."""
        me, theirs = Me.of(self._store), await self._held(user_id)

        def digits() -> str:
            return safety_number(fingerprint(me.user_id, me.identity.public), fingerprint(user_id, theirs))

        return await asyncio.to_thread(digits)

    async def verify(self, user_id: UUID) -> None:
        """Note that the number was compared; the note falls when the key changes. Raises Refused, Unreachable."""
        self._store.put("verified", str(user_id), await self._held(user_id))

    def is_verified(self, user_id: UUID) -> bool:
        """Whether the number of the present key was compared."""
        held = self._store.get("identity", str(user_id))
        return held is not None and self._store.get("verified", str(user_id)) == held

    async def accept(self, user_id: UUID) -> None:
        """Take the key that the node tells now for theirs: what waited for that is opened, and one may send again. Raises Refused, Unreachable."""
        await self._accept(user_id, await self._told(user_id))

    async def _held(self, user_id: UUID) -> bytes:
        return self._store.get("identity", str(user_id)) or await self._told(user_id)

    async def _told(self, user_id: UUID) -> bytes:
        return octets((await self._rest.call("GET", f"/keys/{user_id}"))["identityKey"])
