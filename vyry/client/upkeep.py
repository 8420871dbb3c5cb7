"""What a device does for itself: prekeys published, refilled and rotated, and everything deleted that has had its time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from vyry.client.chain import Point
from vyry.client.device import Me
from vyry.client.publishing import SIGNED_DAYS, Publishing
from vyry.client.refusals import Refused
from vyry.client.rest import Rest
from vyry.client.shapes import identifier, whole
from vyry.client.store import DAY, Store
from vyry.client.sure_time import note_time, sure_time
from vyry.signal_protocol.keys import MAX_ID


#: A whole key set has to be published before anything is sent.
KEYS_DUE: Final = "keys due"
#: Below so many unused one-time keys of a kind more are published.
FEW: Final = 20
#: An id beyond this leaves no room for a new set.
_LAST_ID: Final = MAX_ID - 10_000


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """What the node says of the published keys of this device: the fewest unused ones of a kind, the signed prekey (0: none), and the highest ids given away."""

    remaining: int
    signed_prekey_id: int
    issued_through: Mapping[str, int]

    @property
    def last_id(self) -> int:
        """The highest id that the node names."""
        return max(self.signed_prekey_id, *self.issued_through.values())


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
        status = await self._status()
        with self._store.transaction():
            me = Me.of(self._store)
            me, body = self._publishing.whole_set(replace(me, next_id=max(me.next_id, status.last_id + 1)), self._now())
            me.keep(self._store)
        await self._rest.call("PUT", "/keys", body)
        with self._store.transaction():
            self._publishing.retire(self._now())
            self._store.put(KEYS_DUE, "", None)

    async def find_mailbox(self) -> None:
        """Learn where the mailbox begins. Raises Refused, Unreachable."""
        page = await self._rest.call("GET", "/mailbox?limit=1")
        with self._rest.shaped():
            first = Point.first(identifier(page["mailboxId"]))
        with self._store.transaction():
            self._publishing.retire(self._now())
            replace(Me.of(self._store), point=first).keep(self._store)

    def is_due(self) -> bool:
        """Whether there is anything to do at the node."""
        _, made_at = self._publishing.newest()
        return self._store.get("refill") is not None or self._now() - made_at > SIGNED_DAYS * DAY or self._is_rotating()

    async def tend(self) -> None:
        """Refill and rotate, as far as it is due. Raises Refused, Unreachable."""
        status = await self._status()
        with self._store.transaction():
            # What this device did not make was not given away either, whatever the node says.
            last_made = Me.of(self._store).next_id - 1
            issued = {kind: min(last, last_made) for kind, last in status.issued_through.items()}
            self._publishing.end_issued(issued, self._now())
        if self._store.get("refill") is not None:
            if status.remaining < FEW:
                await self._add(Publishing.more)
            self._store.put("refill", "", None)
        newest, made_at = self._publishing.newest()
        if self._now() - made_at > SIGNED_DAYS * DAY or (self._is_rotating() and status.signed_prekey_id != newest):
            self._store.put("rotating", "", b"begun")
            await self._add(lambda publishing, me: publishing.rotated(me, self._now()))
        if self._is_rotating():
            with self._store.transaction():
                self._publishing.retire(self._now())
                self._store.put("rotating", "", None)

    def sweep(self) -> None:
        """Delete what has had its time for sure."""
        with self._store.transaction():
            now = self._now()
            note_time(self._store, now)
            self._store.sweep(sure_time(self._store, now))

    async def _status(self) -> KeyStatus:
        """Raises Refused, Unreachable."""
        said = await self._rest.call("GET", "/keys/status")
        with self._rest.shaped():
            issued = {kind: whole(said["issuedThrough"][kind], most=_LAST_ID) for kind in ("oneTime", "pq")}
            remaining = min(whole(said["oneTimeRemaining"]), whole(said["pqRemaining"]))
            signed = said["signedPrekeyId"]
            return KeyStatus(remaining, 0 if signed is None else whole(signed, most=_LAST_ID), issued)

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
