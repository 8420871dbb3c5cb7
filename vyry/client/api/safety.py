"""Comparing: numbers that people read to each other, bound to the key that they were made of (docs/signal-protocol.md, section 12)."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, clear_changed_key, is_verified, mark_verified, record_changed_key
from vyry.client.errors import NotCompared
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.signal_protocol.safety import fingerprint, safety_number


Accept = Callable[[UUID, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SafetyNumbers:
    """Safety numbers of an account, 60 digits each: of the key that is held (None before first contact), and of another one that the node tells (None when it tells the held one)."""

    held: str | None
    new: str | None


class Safety:
    """Shows numbers, and notes what people decided. An account's key counts as compared only if its own number was shown, whatever the node tells meanwhile."""

    def __init__(
        self, store: Store, rest: RestClient, accept: Accept, *, on_verified: Callable[[UUID], None] | None = None
    ) -> None:
        """`accept` holds another key. `verified` is called, inside the transaction, when a number was compared."""
        self._store = store
        self._on_verified = on_verified
        self._rest = rest
        self._accept = accept
        self._peers = Peers(store)

    async def number(self, user_id: UUID) -> str:
        """60 digits that are the same on both sides when nobody stands between: of the held key, else of the key that the node tells. Raises Refused, Unreachable."""
        numbers = await self.numbers(user_id) if self._peers.identity_key(user_id) is None else None
        if numbers is not None and numbers.new is not None:
            return numbers.new
        held = self._peers.identity_key(user_id)
        assert held is not None
        return await self._safety_number(user_id, held)

    async def numbers(self, user_id: UUID) -> SafetyNumbers:
        """The number of the held key, and that of another key which the node tells now. Raises Refused, Unreachable."""
        told, held = await self._fetch_identity_key(user_id), self._peers.identity_key(user_id)
        with self._store.transaction():
            if told == held:
                clear_changed_key(self._store, user_id)
            elif held is not None:
                record_changed_key(self._store, user_id, told)
            self._store.put(kinds.SHOWN_KEY, str(user_id), None if told == held else told)
        new = None if told == held else await self._safety_number(user_id, told)
        return SafetyNumbers(None if held is None else await self._safety_number(user_id, held), new)

    async def verify(self, user_id: UUID, digits: str | None = None) -> None:
        """Note that the number was compared; the note falls when the key changes. `digits`: the number that was compared, else the held key's, or before first contact the one shown last.

        Before first contact the key whose number was shown is held from now on. Raises NotCompared when the digits are of no such key, or nothing was shown.
        """
        held = self._peers.identity_key(user_id)
        key = held or self._store.get(kinds.SHOWN_KEY, str(user_id))
        if key is None or not await self._matches_digits(user_id, key, digits):
            raise NotCompared(
                "These are not the digits of the key that is held: show the number again, and compare it with the other side."
            )
        with self._store.transaction():
            if self._peers.identity_key(user_id) not in (None, key):
                raise NotCompared("Another key is held by now: show the number again.")
            self._peers.save_identity(user_id, key)
            mark_verified(self._store, user_id, is_verified=True)
            if self._on_verified is not None:
                self._on_verified(user_id)
            if held is None:
                self._store.put(kinds.SHOWN_KEY, str(user_id), None)

    def is_verified(self, user_id: UUID) -> bool:
        """Whether the number of the held key was compared."""
        return is_verified(self._store, user_id)

    async def accept(self, user_id: UUID, digits: str | None = None) -> None:
        """Hold the other key that the node tells, if it is the one whose number was shown (`numbers`), or whose `digits` these are: mail that waited for it is opened, and what waited is sent.

        Raises NotCompared when the node tells another key by now, or none was shown; Refused, Unreachable.
        """
        told = await self._fetch_identity_key(user_id)
        if told == self._peers.identity_key(user_id):
            return
        shown = self._store.get(kinds.SHOWN_KEY, str(user_id))
        is_shown = shown is not None and hmac.compare_digest(shown, told)
        if not (await self._matches_digits(user_id, told, digits) if digits is not None else is_shown):
            raise NotCompared(
                "The node tells a key whose number was not shown: show the number of the new key, and compare it with the other side."
            )
        await self._accept(user_id, told)
        self._store.put(kinds.SHOWN_KEY, str(user_id), None)

    async def _matches_digits(self, user_id: UUID, key: bytes, digits: str | None) -> bool:
        if digits is None:
            return True
        return hmac.compare_digest("".join(digits.split()).encode(), (await self._safety_number(user_id, key)).encode())

    async def _safety_number(self, user_id: UUID, theirs: bytes) -> str:
        me = LocalDevice.load(self._store)

        def made() -> str:
            return safety_number(fingerprint(me.user_id, me.identity.public), fingerprint(user_id, theirs))

        return await asyncio.to_thread(made)

    async def _fetch_identity_key(self, user_id: UUID) -> bytes:
        said = await self._rest.call("GET", f"/keys/{user_id}")
        with self._rest.validated_response():
            return decode_bytes(said["identityKey"])
