"""Safety numbers: digits that two people compare, bound to the identity key that they were made of (docs/signal-protocol.md, section 12)."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, clear_changed_key, is_verified, mark_verified, record_changed_key
from vyry.client.errors import ContactDiffers, NotCompared
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.signal_protocol.contact_links import ContactLink
from vyry.signal_protocol.safety import fingerprint, safety_number


Accept = Callable[[UUID, bytes], Awaitable[None]]
_FORGED_TEXT: Final = (
    "WARNING: the node reports another key for this account than its contact link. Someone may intercept the conversation, or the link is old or wrong. "
    "Nothing was added. Get the link from the person again, over another channel; if it still differs, write nothing and ask the operator of the node."
)
_CHANGED_TEXT: Final = (
    "WARNING: the key of this account has changed since you wrote to it; the link is of the new key. Nothing was added. "
    "Compare the new safety number with the person, and accept it with `vyry client safety`; then add the link again."
)


@dataclass(frozen=True, slots=True)
class SafetyNumbers:
    """Safety numbers of an account, 60 digits each: `held` of the stored key (None before first contact), `new` of another key that the node reports (None when it reports the stored one)."""

    held: str | None
    new: str | None


class Safety:
    """Shows safety numbers and records decisions. A key counts as compared only if its own number was shown, whatever the node reports meanwhile."""

    def __init__(
        self, store: Store, rest: RestClient, accept: Accept, *, on_verified: Callable[[UUID], None] | None = None
    ) -> None:
        """`accept` stores a changed key. `on_verified` is called inside the transaction when a number was compared."""
        self._store = store
        self._on_verified = on_verified
        self._rest = rest
        self._accept = accept
        self._peers = Peers(store)

    async def number(self, user_id: UUID) -> str:
        """60 digits that are equal on both sides unless a third party is in between: of the stored key, else of the key that the node reports. Raises Refused, Unreachable."""
        numbers = await self.numbers(user_id) if self._peers.identity_key(user_id) is None else None
        if numbers is not None and numbers.new is not None:
            return numbers.new
        stored = self._peers.identity_key(user_id)
        assert stored is not None
        return await self._safety_number(user_id, stored)

    async def numbers(self, user_id: UUID) -> SafetyNumbers:
        """The number of the stored key, and that of another key that the node reports now. Raises Refused, Unreachable."""
        reported, stored = await self._fetch_identity_key(user_id), self._peers.identity_key(user_id)
        with self._store.transaction():
            if reported == stored:
                clear_changed_key(self._store, user_id)
            elif stored is not None:
                record_changed_key(self._store, user_id, reported)
            self._store.put(kinds.SHOWN_KEY, str(user_id), None if reported == stored else reported)
        new = None if reported == stored else await self._safety_number(user_id, reported)
        return SafetyNumbers(None if stored is None else await self._safety_number(user_id, stored), new)

    async def verify(self, user_id: UUID, digits: str | None = None) -> None:
        """Record that the number was compared; a changed key revokes this. `digits`: the number that was compared; without it that of the stored key, or before first contact the one shown last.

        Before first contact the key whose number was shown is stored. Raises NotCompared when the digits match no such key, or none was shown.
        """
        stored = self._peers.identity_key(user_id)
        key = stored or self._store.get(kinds.SHOWN_KEY, str(user_id))
        if key is None or not await self._matches_digits(user_id, key, digits):
            raise NotCompared(
                "The digits do not match the stored key: show the safety number again and compare it with the other person."
            )
        with self._store.transaction():
            if self._peers.identity_key(user_id) not in (None, key):
                raise NotCompared("The stored key has changed meanwhile: show the safety number again.")
            self._save_verified(user_id, key)
            if stored is None:
                self._store.put(kinds.SHOWN_KEY, str(user_id), None)

    async def verify_link(self, link: ContactLink) -> None:
        """Record that the key of this account was compared by its contact link. Raises ContactDiffers, then nothing is stored; Refused, Unreachable."""
        user_id, reported = link.user_id, await self._fetch_identity_key(link.user_id)
        with self._store.transaction():
            stored = self._peers.identity_key(user_id)
            if stored is not None and stored != reported:
                record_changed_key(self._store, user_id, reported)
            if not link.matches(reported):
                raise ContactDiffers(user_id, _FORGED_TEXT)
            if stored not in (None, reported):
                raise ContactDiffers(user_id, _CHANGED_TEXT)
            self._save_verified(user_id, reported)

    def _save_verified(self, user_id: UUID, key: bytes) -> None:
        self._peers.save_identity(user_id, key)
        mark_verified(self._store, user_id, is_verified=True)
        if self._on_verified is not None:
            self._on_verified(user_id)

    def is_verified(self, user_id: UUID) -> bool:
        """Whether the number of the stored key was compared."""
        return is_verified(self._store, user_id)

    async def accept(self, user_id: UUID, digits: str | None = None) -> None:
        """Store the changed key that the node reports, if its number was shown (`numbers`) or matches `digits`: held messages are opened and sent.

        Raises NotCompared when the node reports another key by now, or none was shown; Refused, Unreachable.
        """
        reported = await self._fetch_identity_key(user_id)
        if reported == self._peers.identity_key(user_id):
            return
        shown = self._store.get(kinds.SHOWN_KEY, str(user_id))
        is_shown = shown is not None and hmac.compare_digest(shown, reported)
        if not (await self._matches_digits(user_id, reported, digits) if digits is not None else is_shown):
            raise NotCompared(
                "The digits do not match the new key that the node reports: show its safety number and compare it with the other person."
            )
        await self._accept(user_id, reported)
        self._store.put(kinds.SHOWN_KEY, str(user_id), None)

    async def _matches_digits(self, user_id: UUID, key: bytes, digits: str | None) -> bool:
        if digits is None:
            return True
        return hmac.compare_digest("".join(digits.split()).encode(), (await self._safety_number(user_id, key)).encode())

    async def _safety_number(self, user_id: UUID, theirs: bytes) -> str:
        me = LocalDevice.load(self._store)

        def compute() -> str:
            return safety_number(fingerprint(me.user_id, me.identity.public), fingerprint(user_id, theirs))

        return await asyncio.to_thread(compute)

    async def _fetch_identity_key(self, user_id: UUID) -> bytes:
        response = await self._rest.call("GET", f"/keys/{user_id}")
        with self._rest.validated_response():
            return decode_bytes(response["identityKey"])
