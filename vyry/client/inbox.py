"""What arrives: checked against the chain, opened, and kept together with the ratchet behind it, a page in one transaction. Only then may it be acknowledged."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from vyry.client.chain import Entry, Point
from vyry.client.conversation_pins import Pins
from vyry.client.decided import Decisions
from vyry.client.device import Me
from vyry.client.device_lists import KnownDevices, forget_devices
from vyry.client.effects import Effects, unreadable
from vyry.client.events import ConversationForged, Decided, Event, Lost, MemberForged, Notice, OwnIdentityForged
from vyry.client.group_keys import GroupKeys
from vyry.client.journal import Journal
from vyry.client.outgoing import Posted, Queue
from vyry.client.packing import pack, unpack
from vyry.client.peers import Peers, accept_identity, changed_key, note_changed, was_given_up
from vyry.client.retries import Retries
from vyry.client.shapes import STRANGE, identifier
from vyry.client.store import Store
from vyry.client.unsealing import Letter, Unsealing
from vyry.client.upkeep import KEYS_DUE
from vyry.signal_protocol import refusals
from vyry.signal_protocol.handshake import split
from vyry.signal_protocol.pins import IdentityPin
from vyry.signal_protocol.refusals import Refusal


__all__ = ["Event", "Inbox", "Taken"]

#: Structure that no honest client makes: set aside, so that the sender learns it.
_PARKED: Final = (
    refusals.Malformed,
    refusals.TooLarge,
    refusals.BadPadding,
    refusals.BadContent,
    refusals.ContextMismatch,
)
_OPENED: Final = (refusals.BadPadding, refusals.BadContent, refusals.ContextMismatch)
#: So many letters under a changed identity wait for the person here to decide.
MAX_HELD: Final = 1_000


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
        self._pins = Pins(store)
        #: When the node greeted last (ms since 1970).
        self._greeted_at = 0
        self._unsealing = Unsealing(store)
        self._decisions = Decisions(store)
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
                    # What was found only after opening is nothing that the node need know.
                    name = refusals.BadContent.__name__ if isinstance(refused, _OPENED) else refused.name
                    parked.append((entry["seq"], name))
            replace(me, point=point).keep(self._store)
            for decided in self._decisions.waiting():
                if changed_key(self._store, decided.user_id) == decided.identity_key:
                    self._decide(decided)
        return Taken(point, tuple(parked))

    def accept(self, user_id: UUID, identity_key: bytes, decided_at: int | None = None) -> None:
        """The person accepted another key: hold it, begin anew with all devices, and open what waited for that. `decided_at`: they did so here, and the other own devices are told."""
        with self._store.transaction():
            accept_identity(self._store, user_id, identity_key)
            if decided_at is not None:
                self._decisions.note(user_id, decided_at)
            self._store.scrub()
            Queue(self._store).forget_recipient(user_id)
            self._group_keys.untell(user_id)
            held = sorted(unpack(tuple[int, Letter], kept) for kept in self._store.all("held"))
            for number, letter in held:
                if letter.sender.user_id == user_id:
                    self._store.put("held", str(number), None)
                    self._letter(Me.of(self._store), letter)

    def waiting_decisions(self) -> Sequence[IdentityPin]:
        """What the person decided on another own device about a key that was not seen here yet (`settle`)."""
        return self._decisions.waiting()

    def settle(self, decided: IdentityPin, told: bytes | None) -> None:
        """The node was asked which key it tells (None: for no such account): the decided one counts here too, another one leaves it as seen, and the person is asked here."""
        with self._store.transaction():
            if decided not in self._decisions.waiting():
                return
            if decided.identity_key in (told, changed_key(self._store, decided.user_id)):
                self._decide(decided)
            else:
                self._decisions.drop(decided)

    def _decide(self, decided: IdentityPin) -> None:
        # The decision comes before the mail that waited for it.
        self._journal.add(Decided(user_id=decided.user_id, is_verified=decided.is_verified))
        self.accept(decided.user_id, decided.identity_key)
        self._decisions.hold(decided, is_told=True)

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
                self.begin_anew()
            replace(me, point=cursor).keep(self._store)

    def greeted(self, last_message_id: UUID | None, now: int) -> None:
        """The node names the last post that it accepted from this device. One that this store does not know was made by a later state of it: this is a restored copy."""
        self._greeted_at = now
        with self._store.transaction():
            posted = Posted(self._store)
            if last_message_id is None or posted.has(last_message_id):
                return
            posted.note(last_message_id)
            if self._store.get(KEYS_DUE) is None:
                # Else the mailbox has shown it before, in this greeting.
                seq = self._me_point().seq
                self._journal.add(Lost(seq=seq, through_seq=seq, reason="rolledBack", count=0))
            self.begin_anew()

    def drained(self) -> None:
        """All mail that was accepted before the last greeting is here: what a removed device says from now on was posted after its end."""
        with self._store.transaction():
            KnownDevices(self._store).forget_ended(self._greeted_at)

    def begin_anew(self) -> None:
        """What this store would seal with may have been used already, and its prekeys may be gone at the node: no session is kept, and a whole key set is due before anything is sent."""
        with self._store.transaction():
            self._peers.forget_sessions()
            self._store.scrub()
            self._store.put(KEYS_DUE, "", b"due")

    def _me_point(self) -> Point:
        point = Me.of(self._store).point
        return point if point is not None else Point(0, b"")

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
        """Open it and let it count, or leave everything as it was but for an event."""
        try:
            with self._store.attempt():
                self._check_pin(me, letter)
                self.effects.take(me, letter, self._unsealing.open(me, letter))
        except Refusal as refused:
            return self._refused(me, letter, refused)
        return None

    def _refused(self, me: Me, letter: Letter, refused: Refusal) -> Refusal | None:
        """What the person here is told of a letter that counts for nothing, and whether it is asked for again."""
        match refused:
            case refusals.DuplicateMessage() | refusals.PrekeyReplayed():
                return None
            case refusals.IdentityChanged():
                self._other_identity(me, letter, refused)
            case refusals.IdentityForged() | refusals.ConversationForged() | refusals.MemberForged():
                self._journal.add_once(_event_of(refused, letter), letter.at)
            case _:
                is_awaited = self._retries.ask(letter, refused)
                self._journal.add(unreadable(letter, refused.name, letter.message_id, is_awaited=is_awaited))
        return refused

    def _check_pin(self, me: Me, letter: Letter) -> None:
        """In a direct conversation nobody else is heard, and in that of the account with itself nobody but its devices. Raises ConversationForged."""
        if letter.conversation_id == me.user_id != letter.sender.user_id:
            raise refusals.ConversationForged
        pin = self._pins.get(letter.conversation_id)
        if pin is not None and not pin.is_group and letter.sender.user_id not in (me.user_id, pin.peer):
            raise refusals.ConversationForged

    def _other_identity(self, me: Me, letter: Letter, changed: Refusal) -> None:
        """Another key than the held one began a session: for one's own account it is forged; for another, the letter waits unopened for the person to decide."""
        if letter.sender.user_id == me.user_id:
            self._journal.add_once(_event_of(refusals.IdentityForged(), letter), letter.at)
            return
        prefix, _ = split(letter.content)
        if was_given_up(self._store, letter.sender.user_id, prefix.identity_key):
            self._journal.add(unreadable(letter, changed.name, letter.message_id))
            return
        if self._store.rows("SELECT count(*) FROM value WHERE kind = 'held'")[0][0] < MAX_HELD:
            number = int(self._store.get("held number") or b"0") + 1
            self._store.put("held number", "", str(number).encode())
            self._store.put("held", str(number), pack((number, letter)))
        else:
            self._journal.add(unreadable(letter, changed.name, letter.message_id))
        note_changed(self._store, letter.sender.user_id, prefix.identity_key)
        # Whether the node tells this key too is asked before anything is sealed: a single letter stops nobody for good.
        forget_devices(self._store, letter.sender.user_id)

    def _notice(self, me: Me, entry: Entry) -> None:
        notice = dict(entry["notice"])
        name = notice.pop("name")
        # A notice without what belongs to it changes nothing: it is told as it is.
        with suppress(*STRANGE):
            self._let_count(me, name, notice)
        self._journal.add(Notice(notice=name, extra=notice))

    def _let_count(self, me: Me, name: str, notice: Mapping[str, object]) -> None:
        match name:
            case "devicesChanged" | "accountDeleted":
                forget_devices(self._store, identifier(notice["userId"]))
            case "deviceLinked":
                forget_devices(self._store, me.user_id)
            case "prekeysLow":
                self._store.put("refill", "", b"due")
            case "conversationChanged":
                changed = identifier(notice["conversationId"])
                self._store.put("conversation", str(changed), None)
                self._group_keys.note_change(changed)
            case _:
                pass


def _event_of(forged: Refusal, letter: Letter) -> Event:
    """What the person here should know of a letter that nobody honest could have sent."""
    if isinstance(forged, refusals.IdentityForged):
        return OwnIdentityForged(source="message", device_id=letter.sender.device_id)
    conversation_id, sender = letter.conversation_id, letter.sender.user_id
    if isinstance(forged, refusals.ConversationForged):
        return ConversationForged(conversation_id=conversation_id, reason="member", user_ids=(sender,))
    return MemberForged(conversation_id=conversation_id, user_id=sender, kind="content")
