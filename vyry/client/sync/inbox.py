"""Receiving: a page of entries is checked against the hash chain, opened, and stored with the ratchet states behind it in one transaction. Only then may it be acknowledged."""

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
from vyry.client.store.events import (
    Announcement,
    ConversationForged,
    Decided,
    Event,
    Lost,
    MemberForged,
    Notice,
    OwnIdentityForged,
)
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, ProcessedPage
from vyry.client.store.outgoing import PostedIds, SendQueue
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.client.sync.content_processor import ContentProcessor, unreadable_event
from vyry.client.sync.retries import Retries
from vyry.client.transport.validation import INVALID_SHAPE, read_uuid
from vyry.kernel.sizes import MAX_ANNOUNCEMENT
from vyry.signal_protocol import refusals
from vyry.signal_protocol.handshake import split_prekey_message
from vyry.signal_protocol.pins import IdentityPin
from vyry.signal_protocol.refusals import Refusal


#: Structures that no honest client sends: discarded, so that the sender learns it.
_DISCARDED: Final = (
    refusals.Malformed,
    refusals.TooLarge,
    refusals.BadPadding,
    refusals.BadContent,
    refusals.ContextMismatch,
)
_REFUSED_AFTER_OPENING: Final = (refusals.BadPadding, refusals.BadContent, refusals.ContextMismatch)
#: Envelopes under changed identity keys that are held for a decision.
MAX_HELD: Final = 1_000


class Inbox:
    """Processes pages of mailbox entries."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._journal = Journal(store)
        self._group_keys = GroupKeys(store)
        self._pins = ConversationPins(store)
        #: When the last welcome frame arrived (ms since 1970).
        self._welcomed_at = 0
        self._unsealing = EnvelopeOpener(store)
        self._decisions = IdentityDecisions(store)
        self._retries = Retries(store)
        self.processor: Final = ContentProcessor(store, self._unsealing, self._retries)

    def process(self, entries: Sequence[Entry], now: int) -> ProcessedPage:
        """Store the whole page, or nothing of it; returns what to acknowledge. Raises ChainBroken."""
        discarded: list[tuple[int, str]] = []
        with self._store.transaction():
            me = LocalDevice.load(self._store)
            position = me.point
            assert position is not None
            for entry in entries:
                position = position.advance(entry)
                refusal = self._process_entry(me, entry, now)
                if isinstance(refusal, _DISCARDED):
                    # The node must not learn errors found after opening.
                    name = refusals.BadContent.__name__ if isinstance(refusal, _REFUSED_AFTER_OPENING) else refusal.name
                    discarded.append((entry["seq"], name))
            replace(me, point=position).save(self._store)
            for decision in self._decisions.pending():
                if changed_key(self._store, decision.user_id) == decision.identity_key:
                    self._apply_decision(decision)
        return ProcessedPage(position, tuple(discarded))

    def accept_identity(self, user_id: UUID, identity_key: bytes, decided_at: int | None = None) -> None:
        """The user accepted a changed key: store it, start new sessions with all devices, and open what was held for it. `decided_at`: the decision was made on this device, and own other devices are notified."""
        with self._store.transaction():
            accept_identity(self._store, user_id, identity_key)
            if decided_at is not None:
                self._decisions.record_local(user_id, decided_at)
            self._store.truncate_wal()
            SendQueue(self._store).forget_recipient(user_id)
            self._group_keys.remove_recipient(user_id)
            held = sorted(unpack(tuple[int, IncomingEnvelope], packed) for packed in self._store.all(kinds.HELD))
            for number, envelope in held:
                if envelope.sender.user_id == user_id:
                    self._store.put(kinds.HELD, str(number), None)
                    self._process_envelope(LocalDevice.load(self._store), envelope)

    def pending_decisions(self) -> Sequence[IdentityPin]:
        """Decisions of another own device about keys that this device has not seen (`resolve_decision`)."""
        return self._decisions.pending()

    def resolve_decision(self, decision: IdentityPin, reported: bytes | None) -> None:
        """`reported` is the current key on the node (None: no such account). If it is the decided key, the decision applies here too; otherwise the decided key is stored as a changed key, and the user must decide here."""
        with self._store.transaction():
            if decision not in self._decisions.pending():
                return
            if decision.identity_key in (reported, changed_key(self._store, decision.user_id)):
                self._apply_decision(decision)
            else:
                self._decisions.reject(decision)

    def _apply_decision(self, decision: IdentityPin) -> None:
        # The event of the decision comes before the held mail.
        self._journal.add(Decided(user_id=decision.user_id, is_verified=decision.is_verified))
        self.accept_identity(decision.user_id, decision.identity_key)
        self._decisions.apply(decision, has_event=True)

    def adopt_position(self, cursor: MailboxPosition) -> None:
        """The node's mailbox and this store differ: one of them was restored. Continue at the node's position, and add an event for what is unknown.

        When this store is the older one, its ratchets would use keys twice: all sessions are reset.
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
        """The node reports the last post that it accepted from this device. If this store does not know that post, a later state of the store made it: this store is a restored copy."""
        self._welcomed_at = now
        with self._store.transaction():
            posted = PostedIds(self._store)
            if last_message_id is None or posted.contains(last_message_id):
                return
            posted.add(last_message_id)
            if self._store.get(kinds.KEYS_DUE) is None:
                # Else the mailbox position has already shown it.
                seq = self._position().seq
                self._journal.add(Lost(seq=seq, through_seq=seq, reason="rolledBack", count=0))
            self.reset_sessions()

    def on_drained(self) -> None:
        """All mail accepted before the last welcome has arrived: later mail of a removed device was posted after its end."""
        with self._store.transaction():
            KnownDevices(self._store).delete_ended(self._welcomed_at)

    def reset_sessions(self) -> None:
        """Keys of this store may have been used already, and its prekeys may be missing on the node: delete all sessions, and require a new key set before anything is sent."""
        with self._store.transaction():
            self._peers.delete_sessions()
            self._store.truncate_wal()
            self._store.put(kinds.KEYS_DUE, "", b"due")

    def _position(self) -> MailboxPosition:
        position = LocalDevice.load(self._store).point
        return position if position is not None else MailboxPosition(0, b"")

    def _process_entry(self, me: LocalDevice, entry: Entry, now: int) -> Refusal | None:
        """Process one entry; returns the refusal, if any."""
        if "tombstone" in entry:
            lost = entry["tombstone"]
            span = {"seq": entry["seq"], "through_seq": entry["throughSeq"]}
            self._journal.add(Lost(**span, reason=lost["reason"], count=lost["count"]))
        elif "notice" in entry:
            self._process_notice(me, entry)
        else:
            return self._process_envelope(me, IncomingEnvelope.from_entry(entry, now))
        return None

    def _process_envelope(self, me: LocalDevice, envelope: IncomingEnvelope) -> Refusal | None:
        """Open and process an envelope, or change nothing but add an event."""
        try:
            with self._store.savepoint():
                self._check_pin(me, envelope)
                self.processor.process(me, envelope, self._unsealing.open(me, envelope))
        except Refusal as refusal:
            return self._handle_refusal(me, envelope, refusal)
        return None

    def _handle_refusal(self, me: LocalDevice, envelope: IncomingEnvelope, refusal: Refusal) -> Refusal | None:
        """Add the event for a refused envelope, and request it again if that can help."""
        match refusal:
            case refusals.DuplicateMessage() | refusals.PrekeyReplayed():
                return None
            case refusals.IdentityChanged():
                self._hold_for_decision(me, envelope, refusal)
            case refusals.IdentityForged() | refusals.ConversationForged() | refusals.MemberForged():
                self._journal.add_once(_forgery_event(refusal, envelope), envelope.at)
            case _:
                is_awaited = self._retries.request_resend(envelope, refusal)
                self._journal.add(unreadable_event(envelope, refusal.name, envelope.message_id, is_awaited=is_awaited))
        return refusal

    def _check_pin(self, me: LocalDevice, envelope: IncomingEnvelope) -> None:
        """A direct conversation accepts only its peer, and the account's conversation with itself only its own devices. Raises ConversationForged."""
        if envelope.conversation_id == me.user_id != envelope.sender.user_id:
            raise refusals.ConversationForged
        pin = self._pins.get(envelope.conversation_id)
        if pin is not None and not pin.is_group and envelope.sender.user_id not in (me.user_id, pin.peer):
            raise refusals.ConversationForged

    def _hold_for_decision(self, me: LocalDevice, envelope: IncomingEnvelope, changed: Refusal) -> None:
        """A session began under a changed identity key: for the own account it is forged; for another, the envelope is held unopened until the user decides."""
        if envelope.sender.user_id == me.user_id:
            self._journal.add_once(_forgery_event(refusals.IdentityForged(), envelope), envelope.at)
            return
        prefix, _ = split_prekey_message(envelope.content)
        if is_former_key(self._store, envelope.sender.user_id, prefix.identity_key):
            self._journal.add(unreadable_event(envelope, changed.name, envelope.message_id))
            return
        if self._store.execute("SELECT count(*) FROM value WHERE kind = 'held'")[0][0] < MAX_HELD:
            number = self._store.next_number(kinds.HELD_NUMBER)
            self._store.put(kinds.HELD, str(number), pack((number, envelope)))
        else:
            self._journal.add(unreadable_event(envelope, changed.name, envelope.message_id))
        record_changed_key(self._store, envelope.sender.user_id, prefix.identity_key)
        # The current key is fetched from the node before anything is sealed: a single envelope cannot stop sending for good.
        invalidate_device_list(self._store, envelope.sender.user_id)

    def _process_notice(self, me: LocalDevice, entry: Entry) -> None:
        notice = dict(entry["notice"])
        name = notice.pop("name")
        # A malformed notice changes nothing, and is still an event.
        with suppress(*INVALID_SHAPE):
            self._apply_notice(me, name, notice)
        self._journal.add(_announcement(name, notice) or Notice(notice=name, extra=notice))

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


def _announcement(name: str, notice: Mapping[str, object]) -> Event | None:
    """The event of a valid announcement."""
    number, text, language = notice.get("announcementId"), notice.get("text"), notice.get("language")
    is_valid = name == "announcement" and isinstance(number, str) and isinstance(text, str)
    if not is_valid or not 0 < len(str(text)) <= MAX_ANNOUNCEMENT:
        return None
    return Announcement(
        announcement_id=str(number), text=str(text), language=language if isinstance(language, str) else None
    )


def _forgery_event(forged: Refusal, envelope: IncomingEnvelope) -> Event:
    """The event for an envelope that no honest device could have sent."""
    if isinstance(forged, refusals.IdentityForged):
        return OwnIdentityForged(source="message", device_id=envelope.sender.device_id)
    conversation_id, sender = envelope.conversation_id, envelope.sender.user_id
    if isinstance(forged, refusals.ConversationForged):
        return ConversationForged(conversation_id=conversation_id, reason="member", user_ids=(sender,))
    return MemberForged(conversation_id=conversation_id, user_id=sender, kind="content")
