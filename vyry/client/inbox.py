"""What arrives: checked against the chain, opened, and kept together with the ratchet behind it, a page in one transaction. Only then may it be acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from vyry.client.chain import Entry, Point
from vyry.client.circles import forget_devices
from vyry.client.device import Me
from vyry.client.effects import Effects, unreadable
from vyry.client.events import Event, Lost, Notice
from vyry.client.group_keys import GroupKeys
from vyry.client.journal import Journal
from vyry.client.packing import pack, unpack
from vyry.client.peers import Peers, begin_anew, note_changed
from vyry.client.retries import Retries
from vyry.client.store import Store
from vyry.client.unsealing import Letter, Unsealing
from vyry.signal_protocol import refusals
from vyry.signal_protocol.refusals import Refusal


__all__ = ["Event", "Inbox", "Taken"]

_SILENT: Final = (refusals.DuplicateMessage, refusals.PrekeyReplayed)
#: Structure that no honest client makes: set aside, so that the sender learns it.
_PARKED: Final = (
    refusals.Malformed,
    refusals.TooLarge,
    refusals.BadPadding,
    refusals.BadContent,
    refusals.ContextMismatch,
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A page that is safe here: what may be acknowledged, and what is to be set aside before, by number and refusal."""

    point: Point
    parked: tuple[tuple[int, str], ...] = ()


class Inbox:
    """Takes pages of entries."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._journal = Journal(store)
        self._group_keys = GroupKeys(store)
        self._unsealing = Unsealing(store)
        self._retries = Retries(store)
        self.effects: Final = Effects(store, self._unsealing, self._retries)

    def take(self, entries: Sequence[Entry], now: int) -> Taken:
        """Keep all of it, or nothing; answers what to acknowledge. Raises ChainBroken."""
        parked: list[tuple[int, str]] = []
        with self._store.transaction():
            me = Me.of(self._store)
            point = me.point
            assert point is not None
            for entry in entries:
                point = point.after(entry)
                refused = self._entry(me, entry, now)
                if isinstance(refused, _PARKED):
                    parked.append((entry["seq"], refused.name))
            replace(me, point=point).keep(self._store)
        return Taken(point, tuple(parked))

    def accept(self, user_id: UUID, identity_key: bytes) -> None:
        """The person accepted another key: hold it, begin anew with all devices, and open what waited for that."""
        with self._store.transaction():
            begin_anew(self._store, user_id)
            self._peers.keep_identity(user_id, identity_key)
            self._group_keys.untell(user_id)
            held = sorted(unpack(tuple[int, Letter], kept) for kept in self._store.all("held"))
            for number, letter in held:
                if letter.sender.user_id == user_id:
                    self._store.put("held", str(number), None)
                    self._letter(Me.of(self._store), letter)

    def adopt(self, cursor: Point) -> None:
        """The node's mailbox and this store have come apart: one of them was restored. Go on at the node's point, and say what is not known.

        When this store is the older one, its ratchets would use keys twice: all sessions begin anew.
        """
        with self._store.transaction():
            me = Me.of(self._store)
            assert me.point is not None
            is_rolled_back = cursor.seq > me.point.seq
            first, last = sorted((me.point.seq, cursor.seq))
            reason = "rolledBack" if is_rolled_back else "restored"
            self._journal.add(Lost(seq=first + 1, through_seq=last, reason=reason, count=last - first))
            if is_rolled_back:
                self._peers.forget_sessions()
            replace(me, point=cursor).keep(self._store)

    def _entry(self, me: Me, entry: Entry, now: int) -> Refusal | None:
        """Let one entry count; answers what was refused about it."""
        if "tombstone" in entry:
            lost = entry["tombstone"]
            span = {"seq": entry["seq"], "through_seq": entry["throughSeq"]}
            self._journal.add(Lost(**span, reason=lost["reason"], count=lost["count"]))
        elif "notice" in entry:
            self._notice(me, entry)
        else:
            return self._letter(me, Letter.of(entry, now))
        return None

    def _letter(self, me: Me, letter: Letter) -> Refusal | None:
        try:
            self.effects.take(me, letter, self._unsealing.open(me, letter))
        except _SILENT:
            return None
        except refusals.IdentityChanged as changed:
            self._hold(letter)
            return changed
        except Refusal as refused:
            is_awaited = self._retries.ask(letter, refused)
            self._journal.add(unreadable(letter, refused.name, letter.message_id, is_awaited=is_awaited))
            return refused
        return None

    def _hold(self, letter: Letter) -> None:
        """Keep it unopened; the person is asked once."""
        number = int(self._store.get("held number") or b"0") + 1
        self._store.put("held number", "", str(number).encode())
        self._store.put("held", str(number), pack((number, letter)))
        note_changed(self._store, letter.sender.user_id)

    def _notice(self, me: Me, entry: Entry) -> None:
        notice = dict(entry["notice"])
        match notice.pop("name"):
            case "devicesChanged" | "accountDeleted" as name:
                forget_devices(self._store, UUID(notice["userId"]))
            case "deviceLinked" as name:
                forget_devices(self._store, me.user_id)
            case "prekeysLow" as name:
                self._store.put("refill", "", b"due")
            case "conversationChanged" as name:
                self._store.put("conversation", str(UUID(notice["conversationId"])), None)
                self._group_keys.note_change(UUID(notice["conversationId"]))
            case name:
                pass
        self._journal.add(Notice(notice=name, extra=notice))
