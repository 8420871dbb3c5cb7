"""What arrives: checked against the chain, opened, and kept together with the ratchet behind it, a page in one transaction. Only then may it be acknowledged."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import UUID

from vyry.client.crypto.device_lists import KnownDevices, invalidate_device_list
from vyry.client.crypto.group_keys import GroupKeys
from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, accept_identity, changed_key, is_former_key, record_changed_key
from vyry.client.crypto.unsealing import EnvelopeOpener, IncomingEnvelope
from vyry.client.store import kinds
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.events import ConversationForged, Decided, Event, Lost, MemberForged, Notice, OwnIdentityForged
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, ProcessedPage
from vyry.client.store.outgoing import PostedIds, SendQueue
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.client.sync.content_processor import ContentProcessor, unreadable_event
from vyry.client.sync.retries import Retries
from vyry.client.transport.validation import INVALID_SHAPE, read_uuid
from vyry.signal_protocol import refusals
from vyry.signal_protocol.handshake import split_prekey_message
from vyry.signal_protocol.pins import IdentityPin
from vyry.signal_protocol.refusals import Refusal


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


class Inbox:
    """Takes pages of entries."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._journal = Journal(store)
        self._group_keys = GroupKeys(store)
        self._pins = ConversationPins(store)
        #: When the node greeted last (ms since 1970).
        self._welcomed_at = 0
        self._unsealing = EnvelopeOpener(store)
        self._decisions = IdentityDecisions(store)
        self._retries = Retries(store)
        self.processor: Final = ContentProcessor(store, self._unsealing, self._retries)

    def process(self, entries: Sequence[Entry], now: int) -> ProcessedPage:
        """Keep all of it, or nothing; answers what to acknowledge. Raises ChainBroken."""
        parked: list[tuple[int, str]] = []
        with self._store.transaction():
            me = LocalDevice.load(self._store)
            point = me.point
            assert point is not None
            for entry in entries:
                point = point.advance(entry)
                refused = self._process_entry(me, entry, now)
                if isinstance(refused, _PARKED):
                    # What was found only after opening is nothing that the node need know.
                    name = refusals.BadContent.__name__ if isinstance(refused, _OPENED) else refused.name
                    parked.append((entry["seq"], name))
            replace(me, point=point).save(self._store)
            for decided in self._decisions.pending():
                if changed_key(self._store, decided.user_id) == decided.identity_key:
                    self._apply_decision(decided)
        return ProcessedPage(point, tuple(parked))

    def accept_identity(self, user_id: UUID, identity_key: bytes, decided_at: int | None = None) -> None:
        """The person accepted another key: hold it, begin anew with all devices, and open what waited for that. `decided_at`: they did so here, and the other own devices are told."""
        with self._store.transaction():
            accept_identity(self._store, user_id, identity_key)
            if decided_at is not None:
                self._decisions.record_local(user_id, decided_at)
            self._store.truncate_wal()
            SendQueue(self._store).forget_recipient(user_id)
            self._group_keys.remove_recipient(user_id)
            held = sorted(unpack(tuple[int, IncomingEnvelope], kept) for kept in self._store.all(kinds.HELD))
            for number, letter in held:
                if letter.sender.user_id == user_id:
                    self._store.put(kinds.HELD, str(number), None)
                    self._process_envelope(LocalDevice.load(self._store), letter)

    def pending_decisions(self) -> Sequence[IdentityPin]:
        """What the person decided on another own device about a key that was not seen here yet (`settle`)."""
        return self._decisions.pending()

    def resolve_decision(self, decided: IdentityPin, told: bytes | None) -> None:
        """The node was asked which key it tells (None: for no such account): the decided one counts here too, another one leaves it as seen, and the person is asked here."""
        with self._store.transaction():
            if decided not in self._decisions.pending():
                return
            if decided.identity_key in (told, changed_key(self._store, decided.user_id)):
                self._apply_decision(decided)
            else:
                self._decisions.reject(decided)

    def _apply_decision(self, decided: IdentityPin) -> None:
        # The decision comes before the mail that waited for it.
        self._journal.add(Decided(user_id=decided.user_id, is_verified=decided.is_verified))
        self.accept_identity(decided.user_id, decided.identity_key)
        self._decisions.apply(decided, has_event=True)

    def adopt_position(self, cursor: MailboxPosition) -> None:
        """The node's mailbox and this store have come apart: one of them was restored. Go on at the node's point, and say what is not known.

        When this store is the older one, its ratchets would use keys twice: all sessions begin anew.
        """
        with self._store.transaction():
            me = LocalDevice.load(self._store)
            assert me.point is not None
            is_rolled_back = cursor.seq > me.point.seq
            first, last = sorted((me.point.seq, cursor.seq))
            reason = "rolledBack" if is_rolled_back else "restored"
            self._journal.add(Lost(seq=first + 1, through_seq=last, reason=reason, count=last - first))
            if is_rolled_back:
                self.reset_sessions()
            replace(me, point=cursor).save(self._store)

    def on_welcome(self, last_message_id: UUID | None, now: int) -> None:
        """The node names the last post that it accepted from this device. One that this store does not know was made by a later state of it: this is a restored copy."""
        self._welcomed_at = now
        with self._store.transaction():
            posted = PostedIds(self._store)
            if last_message_id is None or posted.contains(last_message_id):
                return
            posted.add(last_message_id)
            if self._store.get(kinds.KEYS_DUE) is None:
                # Else the mailbox has shown it before, in this greeting.
                seq = self._position().seq
                self._journal.add(Lost(seq=seq, through_seq=seq, reason="rolledBack", count=0))
            self.reset_sessions()

    def on_drained(self) -> None:
        """All mail that was accepted before the last greeting is here: what a removed device says from now on was posted after its end."""
        with self._store.transaction():
            KnownDevices(self._store).delete_ended(self._welcomed_at)

    def reset_sessions(self) -> None:
        """What this store would seal with may have been used already, and its prekeys may be gone at the node: no session is kept, and a whole key set is due before anything is sent."""
        with self._store.transaction():
            self._peers.delete_sessions()
            self._store.truncate_wal()
            self._store.put(kinds.KEYS_DUE, "", b"due")

    def _position(self) -> MailboxPosition:
        point = LocalDevice.load(self._store).point
        return point if point is not None else MailboxPosition(0, b"")

    def _process_entry(self, me: LocalDevice, entry: Entry, now: int) -> Refusal | None:
        """Let one entry count; answers what was refused about it."""
        if "tombstone" in entry:
            lost = entry["tombstone"]
            span = {"seq": entry["seq"], "through_seq": entry["throughSeq"]}
            self._journal.add(Lost(**span, reason=lost["reason"], count=lost["count"]))
        elif "notice" in entry:
            self._process_notice(me, entry)
        else:
            return self._process_envelope(me, IncomingEnvelope.from_entry(entry, now))
        return None

    def _process_envelope(self, me: LocalDevice, letter: IncomingEnvelope) -> Refusal | None:
        """Open it and let it count, or leave everything as it was but for an event."""
        try:
            with self._store.savepoint():
                self._check_pin(me, letter)
                self.processor.process(me, letter, self._unsealing.open(me, letter))
        except Refusal as refused:
            return self._handle_refusal(me, letter, refused)
        return None

    def _handle_refusal(self, me: LocalDevice, letter: IncomingEnvelope, refused: Refusal) -> Refusal | None:
        """What the person here is told of a letter that counts for nothing, and whether it is asked for again."""
        match refused:
            case refusals.DuplicateMessage() | refusals.PrekeyReplayed():
                return None
            case refusals.IdentityChanged():
                self._hold_for_decision(me, letter, refused)
            case refusals.IdentityForged() | refusals.ConversationForged() | refusals.MemberForged():
                self._journal.add_once(_forgery_event(refused, letter), letter.at)
            case _:
                is_awaited = self._retries.request_resend(letter, refused)
                self._journal.add(unreadable_event(letter, refused.name, letter.message_id, is_awaited=is_awaited))
        return refused

    def _check_pin(self, me: LocalDevice, letter: IncomingEnvelope) -> None:
        """In a direct conversation nobody else is heard, and in that of the account with itself nobody but its devices. Raises ConversationForged."""
        if letter.conversation_id == me.user_id != letter.sender.user_id:
            raise refusals.ConversationForged
        pin = self._pins.get(letter.conversation_id)
        if pin is not None and not pin.is_group and letter.sender.user_id not in (me.user_id, pin.peer):
            raise refusals.ConversationForged

    def _hold_for_decision(self, me: LocalDevice, letter: IncomingEnvelope, changed: Refusal) -> None:
        """Another key than the held one began a session: for one's own account it is forged; for another, the letter waits unopened for the person to decide."""
        if letter.sender.user_id == me.user_id:
            self._journal.add_once(_forgery_event(refusals.IdentityForged(), letter), letter.at)
            return
        prefix, _ = split_prekey_message(letter.content)
        if is_former_key(self._store, letter.sender.user_id, prefix.identity_key):
            self._journal.add(unreadable_event(letter, changed.name, letter.message_id))
            return
        if self._store.execute("SELECT count(*) FROM value WHERE kind = 'held'")[0][0] < MAX_HELD:
            number = int(self._store.get(kinds.HELD_NUMBER) or b"0") + 1
            self._store.put(kinds.HELD_NUMBER, "", str(number).encode())
            self._store.put(kinds.HELD, str(number), pack((number, letter)))
        else:
            self._journal.add(unreadable_event(letter, changed.name, letter.message_id))
        record_changed_key(self._store, letter.sender.user_id, prefix.identity_key)
        # Whether the node tells this key too is asked before anything is sealed: a single letter stops nobody for good.
        invalidate_device_list(self._store, letter.sender.user_id)

    def _process_notice(self, me: LocalDevice, entry: Entry) -> None:
        notice = dict(entry["notice"])
        name = notice.pop("name")
        # A notice without what belongs to it changes nothing: it is told as it is.
        with suppress(*INVALID_SHAPE):
            self._apply_notice(me, name, notice)
        self._journal.add(Notice(notice=name, extra=notice))

    def _apply_notice(self, me: LocalDevice, name: str, notice: Mapping[str, object]) -> None:
        match name:
            case "devicesChanged" | "accountDeleted":
                invalidate_device_list(self._store, read_uuid(notice["userId"]))
            case "deviceLinked":
                invalidate_device_list(self._store, me.user_id)
            case "prekeysLow":
                self._store.put(kinds.REFILL, "", b"due")
            case "conversationChanged":
                changed = read_uuid(notice["conversationId"])
                self._store.put(kinds.MEMBERS, str(changed), None)
                self._group_keys.schedule_check(changed)
            case _:
                pass


def _forgery_event(forged: Refusal, letter: IncomingEnvelope) -> Event:
    """What the person here should know of a letter that nobody honest could have sent."""
    if isinstance(forged, refusals.IdentityForged):
        return OwnIdentityForged(source="message", device_id=letter.sender.device_id)
    conversation_id, sender = letter.conversation_id, letter.sender.user_id
    if isinstance(forged, refusals.ConversationForged):
        return ConversationForged(conversation_id=conversation_id, reason="member", user_ids=(sender,))
    return MemberForged(conversation_id=conversation_id, user_id=sender, kind="content")
