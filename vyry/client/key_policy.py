"""What a program does about changed identity keys that has nobody to ask: wait for a person, or go on with the key that the node tells."""

import asyncio
import logging
from typing import Final, Literal
from uuid import UUID

from vyry.client.device_lists import told_key
from vyry.client.inbox import Inbox
from vyry.client.peers import changed_accounts, changed_key, is_verified
from vyry.client.rest import Rest
from vyry.client.store import Store


#: `ask`: nothing is sent or opened until `safety.accept`. `accept`: as at first contact the node is believed, but for accounts whose number was compared.
OnChangedKey = Literal["ask", "accept"]
_LOG: Final = logging.getLogger("vyry.client")


class KeyPolicy:
    """Decides about changed keys, as far as it may."""

    def __init__(self, store: Store, rest: Rest, inbox: Inbox, on_changed_key: OnChangedKey) -> None:
        self._store = store
        self._rest = rest
        self._inbox = inbox
        self._accepts = on_changed_key == "accept"

    async def accept_changed(self) -> bool:
        """Hold the changed keys that the policy accepts and the node tells; says whether there was one. The account's other devices are told nothing: no person has decided. Raises Unreachable."""
        accounts = (
            [each for each in changed_accounts(self._store) if not is_verified(self._store, each)]
            if self._accepts
            else []
        )
        return any([await self._accepted(each) for each in accounts])

    async def _accepted(self, user_id: UUID) -> bool:
        told = await told_key(self._rest, user_id)
        if told is None or told != changed_key(self._store, user_id):
            return False
        await asyncio.to_thread(self._inbox.accept, user_id, told)
        _LOG.warning("the changed key of %s was accepted, as on_changed_key says", user_id)
        return True
