"""This device's own sender keys: one generation in each group, and which devices were told it."""

from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from vyry.client.chain import text
from vyry.client.packing import pack, unpack
from vyry.client.store import Store
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sender_keys import GENERATION_MESSAGES, GENERATION_MILLISECONDS, SenderKey, Where


#: A device as it was told: a number given again is another device.
Told = tuple[UUID, int, int]
_KIND: Final = "own sender key"


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A generation, when it was made (ms since 1970), and who can read it."""

    key: SenderKey
    made_at: int
    told: frozenset[Told] = frozenset()

    def is_over(self, there: frozenset[Told], now: int) -> bool:
        """Whether the next message needs a new one: somebody who was told has left, or it served long enough."""
        is_old = now - self.made_at > GENERATION_MILLISECONDS * 1_000 or self.key.chain.number >= GENERATION_MESSAGES
        return is_old or not self.told <= there

    def fields(self) -> dict[str, Any]:
        """What a `senderKey` says: from the present message on."""
        told = self.key.distribution()
        return {
            "senderKeyId": text(told.sender_key_id),
            "iteration": told.iteration,
            "chainKey": text(told.chain_key),
            "signingKey": text(told.signing_key),
        }


class OwnKeys:
    """Reads and writes them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, conversation_id: UUID) -> OwnKey | None:
        """The present generation."""
        kept = self._store.get(_KIND, str(conversation_id))
        return unpack(OwnKey, kept) if kept else None

    def keep(self, conversation_id: UUID, own: OwnKey | None) -> None:
        """Store it; None: the next message makes a new one."""
        self._store.put(_KIND, str(conversation_id), pack(own) if own else None)

    def current(self, where: Where, there: frozenset[Told], now: int) -> OwnKey:
        """The generation for the next message to these devices, a new one if the rules ask for it."""
        held = self.get(where.conversation_id)
        if held is None or held.is_over(there, now):
            held = OwnKey(SenderKey.fresh(where), now)
            self.keep(where.conversation_id, held)
        return held

    def untell(self, conversation_id: UUID, address: Address) -> OwnKey | None:
        """A device has lost it: what it answers has to be told again."""
        held = self.get(conversation_id)
        if held is None:
            return None
        told = frozenset(each for each in held.told if each[:2] != (address.user_id, address.device_id))
        held = replace(held, told=told)
        self.keep(conversation_id, held)
        return held
