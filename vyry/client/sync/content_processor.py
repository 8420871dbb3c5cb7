"""Applies contents: messages go to the journal once, receipts and keys to their stores (docs/signal-protocol.md, "Plaintext")."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.crypto.content_parser import (
    content_event,
    read_bytes,
    read_count,
    read_history_pointer,
    read_sync_event,
    receipt_event,
)
from vyry.client.crypto.conversation_members import add_member_event
from vyry.client.crypto.device_list_check import DeviceListCheck
from vyry.client.crypto.group_keys import GroupKeys
from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.pin_registry import PinRegistry
from vyry.client.crypto.sealed_profiles import Profiles
from vyry.client.crypto.unsealing import EnvelopeOpener, IncomingEnvelope, OpenedContent
from vyry.client.store import kinds
from vyry.client.store.conversation_pins import ConversationPin, ConversationPins
from vyry.client.store.events import ContentEvent, Edit, TimerSet, Unreadable, Unsend
from vyry.client.store.history_transfer import HistoryTransfers
from vyry.client.store.journal import Journal, KnownContent, ReadReceipts
from vyry.client.store.outgoing import SendQueue
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.client.sync.receipt_policy import mark_answered
from vyry.client.sync.retries import Retries
from vyry.signal_protocol.contents import Content, may_change, read_content, read_id
from vyry.signal_protocol.pins import IdentityPin, PinSet
from vyry.signal_protocol.refusals import BadContent, IdentityForged, MemberForged
from vyry.signal_protocol.sender_keys import Distribution, SenderKeyScope


#: Kinds without an event.
_SILENT: Final = ("call",)
#: Forms of a sync that count only in the account's conversation with itself.
_ACCOUNT_SYNCS: Final = {"pins", "decided", "history"}
#: Kinds that distribute keys of a group.
_GROUP_KEYS: Final = ("senderKey", "groupKey")


class ContentProcessor:
    """Processes contents, inside the transaction of the caller."""

    def __init__(self, store: Store, unsealing: EnvelopeOpener, retries: Retries) -> None:
        self._store = store
        self._unsealing = unsealing
        self._retries = retries
        self._journal = Journal(store)
        self._read_receipts = ReadReceipts(store)
        self._group_keys = GroupKeys(store)
        self._pins = ConversationPins(store)
        self._list_check = DeviceListCheck(store)
        self._pin_registry = PinRegistry(store)
        self._decisions = IdentityDecisions(store)

    def process(self, me: LocalDevice, envelope: IncomingEnvelope, unsealed: OpenedContent) -> None:
        """Process a content. Raises a Refusal: the caller rolls the transaction back."""
        content = read_content(unsealed.plaintext, envelope.conversation_id)
        self._check_member(me, content, envelope, unsealed)
        self._list_check.check_content(envelope, unsealed, content)
        match content.kind:
            case "receipt":
                self._process_receipt(content, envelope)
            case "sync":
                self._process_sync(me, content, envelope, unsealed)
            case "senderKey" | "groupKey" | "profileKey":
                self._process_key(me, content, envelope, unsealed)
            case "retry" | "resync":
                self._process_retry(content, envelope, unsealed)
            case kind if kind in _SILENT:
                return
            case _:
                self._process_message(me, content, envelope)

    def record(self, event: ContentEvent, now: int, *, is_handled: bool = False) -> None:
        """Add a message to the journal and record its id; a message of an own device counts as read."""
        timer = getattr(event, "timer_seconds", None)
        number = self._journal.add(event, is_handled=is_handled)
        known = KnownContent(event.conversation_id, event.at, (event.sender_device_id,), number, timer)
        self._journal.remember_content(event.id, event.sender_id, known, now)
        if event.is_own:
            mark_answered(self._store, event.conversation_id)
        if timer and event.is_own:
            self._journal.set_expiry(number, now + timer * 1_000)
        if isinstance(event, Unsend) and event.is_own:
            SendQueue(self._store).delete_sent(event.of.id)
        if isinstance(event, TimerSet):
            self._store.put(
                kinds.TIMER, str(event.conversation_id), str(event.seconds).encode() if event.seconds else None
            )

    def _check_member(
        self, me: LocalDevice, content: Content, envelope: IncomingEnvelope, unsealed: OpenedContent
    ) -> None:
        """Contents of a group count only from its members, as do its keys; those of the own account only from devices of its verified list. Raises MemberForged, IdentityForged, BadContent.

        Members are not signed: the node reports them, but cannot add one unseen (`memberAdded`).
        """
        pin, sender = self._pins.get(envelope.conversation_id), envelope.sender.user_id
        if sender == me.user_id:
            session = unsealed.session
            if session is not None and not self._list_check.is_listed(envelope.sender, session.peer, envelope.at):
                raise IdentityForged
            return
        if pin is None:
            if content.kind in _GROUP_KEYS:
                raise MemberForged
            return
        if pin.is_group and not pin.allows_sender(sender):
            self._admit_unseen_member(pin, content, envelope)
        if not pin.is_group and content.kind in _GROUP_KEYS:
            raise BadContent

    def _admit_unseen_member(self, pin: ConversationPin, content: Content, envelope: IncomingEnvelope) -> None:
        """An account that joined and left between two fetches was a member, and is reported as a new one. Raises MemberForged if that is impossible, or for a group key."""
        if not pin.is_skipping or content.kind == "groupKey":
            raise MemberForged
        add_member_event(self._store, envelope.conversation_id, envelope.sender.user_id)
        self._pins.save(envelope.conversation_id, pin.with_former_member(envelope.sender.user_id))

    def _process_message(self, me: LocalDevice, content: Content, envelope: IncomingEnvelope) -> None:
        known = self._journal.find_content(content.id, envelope.sender.user_id)
        if known is not None and envelope.sender.device_id in known.devices:
            return
        is_own = envelope.sender.user_id == me.user_id
        event = content_event(content, envelope.sender, is_own=is_own)
        if isinstance(event, Edit | Unsend) and not self._is_allowed_change(content, event):
            return
        self.record(event, envelope.at)
        if not is_own:
            queue_receipt(self._store, content.conversation_id, envelope.sender.user_id, content.id)

    def _is_allowed_change(self, content: Content, change: Edit | Unsend) -> bool:
        """Only the sender of a content may change it, within 24 hours."""
        target = self._journal.find_content(change.of.id, change.of.sender_id)
        return target is not None and may_change(content, change.sender_id, change.of.sender_id, target.at)

    def _process_receipt(self, content: Content, envelope: IncomingEnvelope) -> None:
        receipt = receipt_event(content, envelope.sender)
        if receipt is not None:
            self._journal.add(receipt)
            for each in receipt.targets:
                self._read_receipts.record_receipt(each, receipt.sender_id, receipt.state, envelope.at)

    def _process_sync(
        self, me: LocalDevice, content: Content, envelope: IncomingEnvelope, unsealed: OpenedContent
    ) -> None:
        """Apply what another own device sent, read, pinned or decided; only from a device of the own verified list. Fields of a newer version are ignored."""
        sync = content.fields.get("sync")
        if envelope.sender.user_id != me.user_id or not isinstance(sync, dict):
            raise BadContent
        if unsealed.session is None or not self._list_check.is_listed(envelope.sender, unsealed.session.peer):
            raise IdentityForged
        if sync.keys() & _ACCOUNT_SYNCS:
            self._process_account_sync(me, sync, envelope)
        elif "sent" in sync:
            inner = read_content(orjson.dumps(sync["sent"]), envelope.conversation_id)
            self._process_message(me, inner, envelope)
        elif "read" in sync:
            read = read_sync_event(content, sync["read"])
            self._journal.add(read)
            for target in read.targets:
                self._read_receipts.mark_read(target, envelope.at)
                self.start_timer(target.id, target.sender_id, envelope.at)

    def _process_account_sync(self, me: LocalDevice, sync: Mapping[str, Any], envelope: IncomingEnvelope) -> None:
        """A sync about the account itself is valid only in the account's conversation with itself. Raises BadContent."""
        if envelope.conversation_id != me.user_id:
            raise BadContent
        if "pins" in sync:
            self._pin_registry.merge(PinSet.read(sync["pins"]), envelope.at)
        elif "history" in sync:
            HistoryTransfers(self._store).accept(*read_history_pointer(sync["history"]), envelope.at)
        else:
            self._decisions.apply_remote(IdentityPin.read(sync["decided"]))

    def start_timer(self, content_id: UUID, sender_id: UUID, now: int) -> None:
        """The content was read: the timer of a disappearing content starts."""
        known = self._journal.find_content(content_id, sender_id)
        if known is not None and known.timer_seconds:
            self._journal.set_expiry(known.number, now + known.timer_seconds * 1_000)

    def _process_key(
        self, me: LocalDevice, content: Content, envelope: IncomingEnvelope, unsealed: OpenedContent
    ) -> None:
        if unsealed.session is None:
            # Only a pairwise session proves whose key it is.
            raise BadContent
        fields = content.fields
        match content.kind:
            case "senderKey":
                self._unsealing.accept_sender_key(
                    SenderKeyScope(envelope.conversation_id, envelope.sender), Distribution.read(content), envelope.at
                )
            case "groupKey":
                pin = self._pins.get(envelope.conversation_id)
                if pin is not None and envelope.sender.user_id in pin.former:
                    return
                received = read_count(fields, "generation"), read_bytes(fields, "groupKey", 32)
                self._group_keys.accept(envelope.conversation_id, envelope.sender, *received)
            case _:
                self._record_profile_key(me, envelope.sender.user_id, read_bytes(fields, "profileKey", 32))

    def _record_profile_key(self, me: LocalDevice, sender_id: UUID, key: bytes) -> None:
        if sender_id == me.user_id:
            # Another own device published a profile: this one sends the key too.
            Profiles(self._store).mark_published()
            return
        self._store.put(kinds.PROFILE_KEY, str(sender_id), key)

    def _process_retry(self, content: Content, envelope: IncomingEnvelope, unsealed: OpenedContent) -> None:
        if unsealed.session is None:
            raise BadContent
        if content.kind == "retry":
            self._retries.answer_retry(content, envelope, unsealed.session)
            return
        self._retries.activate_session(envelope.sender, unsealed.session)
        self._journal.add(unreadable_event(envelope, "resync", read_id(content.fields.get("messageId"))))


def unreadable_event(
    envelope: IncomingEnvelope, reason: str, message_id: UUID, *, is_awaited: bool = False
) -> Unreadable:
    """The event for an envelope that could not be opened."""
    return Unreadable(
        conversation_id=envelope.conversation_id,
        sender_id=envelope.sender.user_id,
        sender_device_id=envelope.sender.device_id,
        message_id=message_id,
        reason=reason,
        is_awaited=is_awaited,
    )


def queue_receipt(
    store: Store, conversation_id: UUID, person: UUID, content_id: UUID, kind: str = kinds.DELIVERY_RECEIPTS_DUE
) -> None:
    """Queue a receipt; those of one conversation and account are sent together."""
    name = f"{conversation_id}/{person}"
    packed = store.get(kind, name)
    due: tuple[Any, ...] = (
        unpack(tuple[UUID, UUID, tuple[UUID, ...]], packed) if packed else (conversation_id, person, ())
    )
    store.put(kind, name, pack((conversation_id, person, (*due[2], content_id))))
