"""What a device does for itself: prekeys published, refilled and rotated, and everything deleted that has had its time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

from vyry.client.chain import Point
from vyry.client.device import Me
from vyry.client.publishing import SIGNED_DAYS, Publishing
from vyry.client.refusals import Refused
from vyry.client.rest import Rest
from vyry.client.store import DAY, Store


#: A whole key set has to be published before anything is sent.
KEYS_DUE: Final = "keys due"
#: Below so many unused one-time keys of a kind more are published.
FEW: Final = 20


class Upkeep:
    """Does it. What was begun and not answered is begun again: ids rise, so nothing is published twice."""

    def __init__(self, store: Store, rest: Rest, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._publishing = Publishing(store)

    async def publish(self) -> None:
        """Publish a whole set of keys, and learn where the mailbox begins. Raises Refused, Unreachable."""
        with self._store.transaction():
            me, body = self._publishing.whole_set(Me.of(self._store), self._now())
            me.keep(self._store)
        await self._rest.call("PUT", "/keys", body)
        await self.find_mailbox()

    async def publish_due(self) -> None:
        """Publish a whole set of keys if one is due (`Inbox.begin_anew`). Raises Refused, Unreachable."""
        if self._store.get(KEYS_DUE) is None:
            return
        # A later state of this store may have published ids that this one does not know.
        status = await self._rest.call("GET", "/keys/status")
        issued = max(status["signedPrekeyId"] or 0, *status["issuedThrough"].values())
        with self._store.transaction():
            me = Me.of(self._store)
            me, body = self._publishing.whole_set(replace(me, next_id=max(me.next_id, issued + 1)), self._now())
            me.keep(self._store)
        await self._rest.call("PUT", "/keys", body)
        with self._store.transaction():
            self._publishing.retire(self._now())
            self._store.put(KEYS_DUE, "", None)

    async def find_mailbox(self) -> None:
        """Learn where the mailbox begins. Raises Refused, Unreachable."""
        page = await self._rest.call("GET", "/mailbox?limit=1")
        with self._store.transaction():
            self._publishing.retire(self._now())
            replace(Me.of(self._store), point=Point.first(UUID(page["mailboxId"]))).keep(self._store)

    def is_due(self) -> bool:
        """Whether there is anything to do at the node."""
        _, made_at = self._publishing.newest()
        return self._store.get("refill") is not None or self._now() - made_at > SIGNED_DAYS * DAY or self._is_rotating()

    async def tend(self) -> None:
        """Refill and rotate, as far as it is due. Raises Refused, Unreachable."""
        status = await self._rest.call("GET", "/keys/status")
        with self._store.transaction():
            self._publishing.end_issued(status["issuedThrough"], self._now())
        if self._store.get("refill") is not None:
            if min(status["oneTimeRemaining"], status["pqRemaining"]) < FEW:
                await self._add(Publishing.more)
            self._store.put("refill", "", None)
        newest, made_at = self._publishing.newest()
        if self._now() - made_at > SIGNED_DAYS * DAY or (self._is_rotating() and status["signedPrekeyId"] != newest):
            self._store.put("rotating", "", b"begun")
            await self._add(lambda publishing, me: publishing.rotated(me, self._now()))
        if self._is_rotating():
            with self._store.transaction():
                self._publishing.retire(self._now())
                self._store.put("rotating", "", None)

    def sweep(self) -> None:
        """Delete what has had its time."""
        with self._store.transaction():
            self._store.sweep(self._now())

    def _is_rotating(self) -> bool:
        return self._store.get("rotating") is not None

    async def _add(self, make: Callable[[Publishing, Me], tuple[Me, dict[str, object]]]) -> None:
        with self._store.transaction():
            me, body = make(self._publishing, Me.of(self._store))
            me.keep(self._store)
        try:
            await self._rest.call("POST", "/keys/prekeys", body)
        except Refused as refused:
            # The ids were used by a set that this store does not know: the next ones are higher, and the loop comes again.
            if refused.code != "INVALID_KEYS":
                raise
