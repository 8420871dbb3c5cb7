"""Decisions of users about identity keys, on this device and on the account's others: the newest decision about an account counts (docs/signal-protocol.md, section 11)."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, is_verified, mark_verified, record_changed_key
from vyry.client.store import kinds
from vyry.client.store.events import Decided
from vyry.client.store.journal import Journal
from vyry.client.store.outgoing import Outgoing, SendQueue
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.ids import new_id
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.pins import IdentityPin
from vyry.signal_protocol.refusals import BadContent


class IdentityDecisions:
    """Reads and writes decisions, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)

    def decided_at(self, user_id: UUID) -> int:
        """When the user last decided about this account; 0: never."""
        return int(self._store.get(kinds.DECIDED_AT, str(user_id)) or 0)

    def set_decided_at(self, user_id: UUID, at: int) -> None:
        """Decisions made before this moment no longer count."""
        self._store.put(kinds.DECIDED_AT, str(user_id), str(at).encode() if at else None)

    def current_pin(self, user_id: UUID) -> IdentityPin | None:
        """The stored key and decision of an account; None before first contact."""
        stored = self._peers.identity_key(user_id)
        if stored is None:
            return None
        return IdentityPin(user_id, stored, is_verified(self._store, user_id), self.decided_at(user_id))

    def record_local(self, user_id: UUID, now: int) -> None:
        """The user decided on this device: send the stored state to the account's other devices. The decision gets a later time than every earlier one, even if a clock is wrong. There are no decisions about the own account."""
        me = LocalDevice.load(self._store)
        if user_id == me.user_id:
            return
        self.set_decided_at(user_id, max(now, self.decided_at(user_id) + 1))
        self._store.put(kinds.PENDING_DECISION, str(user_id), None)
        pin = self.current_pin(user_id)
        assert pin is not None
        content = Content("sync", new_id(now), now, me.user_id, {"sync": {"decided": pin.fields()}})
        SendQueue(self._store).add(Outgoing.to_own_devices(content, now))

    def apply_remote(self, decided: IdentityPin) -> None:
        """Apply a decision made on another own device. A decision older than the last one about the account changes nothing; one for another key than the stored one stays pending. Raises BadContent for the own account."""
        user_id = decided.user_id
        if user_id == LocalDevice.load(self._store).user_id:
            raise BadContent
        packed = self._store.get(kinds.PENDING_DECISION, str(user_id))
        last = unpack(IdentityPin, packed).at if packed is not None else 0
        if decided.at <= max(last, self.decided_at(user_id)):
            return
        if self._peers.identity_key(user_id) in (None, decided.identity_key):
            self.apply(decided)
        else:
            self._store.put(kinds.PENDING_DECISION, str(user_id), pack(decided))

    def apply(self, decided: IdentityPin, *, has_event: bool = False) -> None:
        """Store the decision. An event is added if the state differs from before, unless there already was one (`has_event`)."""
        user_id, before = decided.user_id, self.current_pin(decided.user_id)
        self._peers.save_identity(user_id, decided.identity_key)
        mark_verified(self._store, user_id, is_verified=decided.is_verified)
        self.set_decided_at(user_id, decided.at)
        self._store.put(kinds.PENDING_DECISION, str(user_id), None)
        if not has_event and (before is None or replace(before, at=decided.at) != decided):
            Journal(self._store).add(Decided(user_id=user_id, is_verified=decided.is_verified))

    def pending(self) -> Sequence[IdentityPin]:
        """Decisions for another key than the stored one."""
        return [unpack(IdentityPin, packed) for packed in self._store.all(kinds.PENDING_DECISION)]

    def reject(self, decided: IdentityPin) -> None:
        """The node reports another key than the decided one. The decided key is stored as a changed key, and the user must decide on this device too."""
        self._store.put(kinds.PENDING_DECISION, str(decided.user_id), None)
        record_changed_key(self._store, decided.user_id, decided.identity_key)
