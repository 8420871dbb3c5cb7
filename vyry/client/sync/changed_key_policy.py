"""What a program does about changed identity keys that has nobody to ask: wait for a person, or go on with the key that the node tells."""

import asyncio
import logging
from typing import Final, Literal
from uuid import UUID

from vyry.client.crypto.device_lists import fetch_identity_key
from vyry.client.crypto.peers import changed_accounts, changed_key, is_verified
from vyry.client.store.store import Store
from vyry.client.sync.inbox import Inbox
from vyry.client.transport.rest import RestClient


#: `ask`: nothing is sent or opened until `safety.accept`. `accept`: as at first contact the node is believed, but for accounts whose number was compared.
OnChangedKey = Literal["ask", "accept"]
_LOG: Final = logging.getLogger("vyry.client")


class ChangedKeyPolicy:
    """Decides about changed keys, as far as it may."""

    def __init__(self, store: Store, rest: RestClient, inbox: Inbox, on_changed_key: OnChangedKey) -> None:
        self._store = store
        self._rest = rest
        self._inbox = inbox
        self._is_accepting = on_changed_key == "accept"

    async def accept_changed(self) -> bool:
        """Hold the changed keys that the policy accepts and the node tells; says whether there was one. The account's other devices are told nothing: no person has decided. Raises Unreachable."""
        accounts = (
            [each for each in changed_accounts(self._store) if not is_verified(self._store, each)]
            if self._is_accepting
            else []
        )
        return any([await self._accept(each) for each in accounts])

    async def _accept(self, user_id: UUID) -> bool:
        told = await fetch_identity_key(self._rest, user_id)
        if told is None or told != changed_key(self._store, user_id):
            return False
        await asyncio.to_thread(self._inbox.accept_identity, user_id, told)
        _LOG.warning("the changed key of %s was accepted, as on_changed_key says", user_id)
        return True
