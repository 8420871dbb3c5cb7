"""What people decided about identity keys, on this device and on the account's others: the newest decision about an account counts (docs/signal-protocol.md, section 11)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from vyry.client.device import Me
from vyry.client.events import Decided
from vyry.client.journal import Journal
from vyry.client.outgoing import Outgoing, Queue, new_id
from vyry.client.packing import pack, unpack
from vyry.client.peers import Peers, is_verified, mark_verified, note_changed
from vyry.client.store import Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.pins import IdentityPin
from vyry.signal_protocol.refusals import BadContent


#: By account: when a person decided last (ms since 1970).
_AT: Final = "decided at"
#: By account: a decision of another own device for a key that is not held here; it waits until that key was seen.
_WAITING: Final = "decision waiting"


class Decisions:
    """Reads and writes them, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)

    def at(self, user_id: UUID) -> int:
        """When a person decided about this account last; 0: never."""
        return int(self._store.get(_AT, str(user_id)) or 0)

    def keep_at(self, user_id: UUID, at: int) -> None:
        """What was decided before this moment counts no more."""
        self._store.put(_AT, str(user_id), str(at).encode() if at else None)

    def state(self, user_id: UUID) -> IdentityPin | None:
        """What is held for an account; None before the first contact."""
        held = self._peers.identity(user_id)
        if held is None:
            return None
        return IdentityPin(user_id, held, is_verified(self._store, user_id), self.at(user_id))

    def note(self, user_id: UUID, now: int) -> None:
        """A person decided here: the other own devices are told what is held now. Later than every decision before, whatever the clocks say. About the own account there is nothing to decide."""
        me = Me.of(self._store)
        if user_id == me.user_id:
            return
        self.keep_at(user_id, max(now, self.at(user_id) + 1))
        self._store.put(_WAITING, str(user_id), None)
        decided = self.state(user_id)
        assert decided is not None
        content = Content("sync", new_id(now), now, me.user_id, {"sync": {"decided": decided.fields()}})
        telling = Outgoing.of(content, now, "control")
        Queue(self._store).add(replace(telling, own=content.pack(), people=(), is_pairwise=True))

    def take(self, decided: IdentityPin) -> None:
        """A person decided on another own device. One that is older than the last decision about the account changes nothing; one for another key than the held one waits (`waiting`). Raises BadContent for the own account."""
        user_id = decided.user_id
        if user_id == Me.of(self._store).user_id:
            raise BadContent
        waiting = self._store.get(_WAITING, str(user_id))
        last = unpack(IdentityPin, waiting).at if waiting is not None else 0
        if decided.at <= max(last, self.at(user_id)):
            return
        if self._peers.identity(user_id) in (None, decided.identity_key):
            self.hold(decided)
        else:
            self._store.put(_WAITING, str(user_id), pack(decided))

    def hold(self, decided: IdentityPin, *, is_told: bool = False) -> None:
        """From now on this counts. An event says so if it is another state than before, unless there was one (`is_told`)."""
        user_id, before = decided.user_id, self.state(decided.user_id)
        self._peers.keep_identity(user_id, decided.identity_key)
        mark_verified(self._store, user_id, is_verified=decided.is_verified)
        self.keep_at(user_id, decided.at)
        self._store.put(_WAITING, str(user_id), None)
        if not is_told and (before is None or replace(before, at=decided.at) != decided):
            Journal(self._store).add(Decided(user_id=user_id, is_verified=decided.is_verified))

    def waiting(self) -> Sequence[IdentityPin]:
        """Decisions for another key than the held one."""
        return [unpack(IdentityPin, kept) for kept in self._store.all(_WAITING)]

    def drop(self, decided: IdentityPin) -> None:
        """The node tells another key than the decided one, which is kept as seen: the person is asked here too."""
        self._store.put(_WAITING, str(decided.user_id), None)
        note_changed(self._store, decided.user_id, decided.identity_key)
