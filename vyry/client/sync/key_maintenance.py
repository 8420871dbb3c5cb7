"""Key maintenance of a device: prekeys are published, refilled and rotated, and expired values deleted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.prekey_publisher import SIGNED_DAYS, PrekeyPublisher
from vyry.client.errors import Refused
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import MailboxPosition
from vyry.client.store.store import DAY_MS, Store
from vyry.client.store.trusted_time import record_time, trusted_time
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_int, read_uuid
from vyry.signal_protocol.keys import MAX_ID


#: Below so many unused one-time keys of a kind, more are published.
REFILL_BELOW: Final = 20
#: Ids beyond this leave too few for a new set.
_LAST_ID: Final = MAX_ID - 10_000


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """The node's status of this device's published keys: the fewest unused one-time keys of a kind, the signed prekey (0: none), and the highest issued ids."""

    remaining: int
    signed_prekey_id: int
    issued_through: Mapping[str, int]

    @property
    def last_id(self) -> int:
        """The highest id that the node names."""
        return max(self.signed_prekey_id, *self.issued_through.values())


class KeyMaintenance:
    """Publishes and rotates keys. An interrupted publication is repeated: ids rise, so nothing is published twice."""

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._publishing = PrekeyPublisher(store)

    async def publish_all(self) -> None:
        """Publish a whole key set, and load the start of the mailbox. Raises Refused, Unreachable."""
        with self._store.transaction():
            me, body = self._publishing.make_key_set(LocalDevice.load(self._store), self._now())
            me.save(self._store)
        await self._rest.call("PUT", "/keys", body)
        await self.load_mailbox_start()

    async def publish_if_due(self) -> None:
        """Publish a whole key set if one is due (`Inbox.reset_sessions`). Raises Refused, Unreachable."""
        if self._store.get(kinds.KEYS_DUE) is None:
            return
        # A later state of this store may have published ids that this one does not know.
        status = await self._fetch_status()
        with self._store.transaction():
            me = LocalDevice.load(self._store)
            me, body = self._publishing.make_key_set(
                replace(me, next_id=max(me.next_id, status.last_id + 1)), self._now()
            )
            me.save(self._store)
        await self._rest.call("PUT", "/keys", body)
        with self._store.transaction():
            self._publishing.expire_old(self._now())
            self._store.put(kinds.KEYS_DUE, "", None)

    async def load_mailbox_start(self) -> None:
        """Load the start of the mailbox. Raises Refused, Unreachable."""
        page = await self._rest.call("GET", "/mailbox?limit=1")
        with self._rest.validated_response():
            first = MailboxPosition.initial(read_uuid(page["mailboxId"]))
        with self._store.transaction():
            self._publishing.expire_old(self._now())
            replace(LocalDevice.load(self._store), point=first).save(self._store)

    def is_due(self) -> bool:
        """Whether refill or rotation is due."""
        _, made_at = self._publishing.newest_signed()
        return (
            self._store.get(kinds.REFILL) is not None
            or self._now() - made_at > SIGNED_DAYS * DAY_MS
            or self._is_rotating()
        )

    async def refill_and_rotate(self) -> None:
        """Refill and rotate as far as due. Raises Refused, Unreachable."""
        status = await self._fetch_status()
        with self._store.transaction():
            # The node cannot have issued a key that this device did not make, even if it reports so.
            last_made = LocalDevice.load(self._store).next_id - 1
            issued = {kind: min(last, last_made) for kind, last in status.issued_through.items()}
            self._publishing.expire_issued(issued, self._now())
        if self._store.get(kinds.REFILL) is not None:
            if status.remaining < REFILL_BELOW:
                await self._publish_prekeys(PrekeyPublisher.make_one_time)
            self._store.put(kinds.REFILL, "", None)
        newest, made_at = self._publishing.newest_signed()
        if self._now() - made_at > SIGNED_DAYS * DAY_MS or (self._is_rotating() and status.signed_prekey_id != newest):
            self._store.put(kinds.ROTATING, "", b"begun")
            await self._publish_prekeys(lambda publishing, me: publishing.rotate_signed(me, self._now()))
        if self._is_rotating():
            with self._store.transaction():
                self._publishing.expire_old(self._now())
                self._store.put(kinds.ROTATING, "", None)

    def delete_expired(self) -> None:
        """Delete what has certainly expired."""
        with self._store.transaction():
            now = self._now()
            record_time(self._store, now)
            self._store.delete_expired(trusted_time(self._store, now))

    async def _fetch_status(self) -> KeyStatus:
        """Raises Refused, Unreachable."""
        response = await self._rest.call("GET", "/keys/status")
        with self._rest.validated_response():
            issued = {kind: read_int(response["issuedThrough"][kind], most=_LAST_ID) for kind in ("oneTime", "pq")}
            remaining = min(read_int(response["oneTimeRemaining"]), read_int(response["pqRemaining"]))
            signed = response["signedPrekeyId"]
            return KeyStatus(remaining, 0 if signed is None else read_int(signed, most=_LAST_ID), issued)

    def _is_rotating(self) -> bool:
        return self._store.get(kinds.ROTATING) is not None

    async def _publish_prekeys(
        self, make: Callable[[PrekeyPublisher, LocalDevice], tuple[LocalDevice, dict[str, object]]]
    ) -> None:
        with self._store.transaction():
            me, body = make(self._publishing, LocalDevice.load(self._store))
            me.save(self._store)
        try:
            await self._rest.call("POST", "/keys/prekeys", body)
        except Refused as refused:
            # The ids were used by a set that this store does not know: the next try has higher ones.
            if refused.code != "INVALID_KEYS":
                raise
