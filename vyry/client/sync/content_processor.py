"""What contents do: what was said goes into the journal once, receipts and keys to where they belong (docs/signal-protocol.md, "Plaintext")."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.crypto.content_parser import content_event, read_bytes, read_count, read_sync_event, receipt_event
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
from vyry.client.store.journal import Journal, KnownContent
from vyry.client.store.outgoing import SendQueue
from vyry.client.store.packing import pack, unpack
from vyry.client.store.read_receipts import ReadReceipts
from vyry.client.store.store import Store
from vyry.client.sync.receipt_policy import mark_answered
from vyry.client.sync.retries import Retries
from vyry.signal_protocol.contents import Content, may_change, read_content, read_id
from vyry.signal_protocol.pins import HandedPins, IdentityPin
from vyry.signal_protocol.refusals import BadContent, IdentityForged, MemberForged
from vyry.signal_protocol.sender_keys import Distribution, SenderKeyScope


#: Kinds that are about keys and devices: nobody is told of them.
_SILENT: Final = ("call",)
#: Kinds that tell keys of a group.
_GROUP_KEYS: Final = ("senderKey", "groupKey")


class ContentProcessor:
    """Lets contents take effect, inside the transaction of whoever calls."""

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

    def process(self, me: LocalDevice, letter: IncomingEnvelope, unsealed: OpenedContent) -> None:
        """Let it count. Raises a Refusal: then it counts for nothing."""
        content = read_content(unsealed.plaintext, letter.conversation_id)
        self._check_member(me, content, letter, unsealed)
        self._list_check.check_content(letter, unsealed, content)
        match content.kind:
            case "receipt":
                self._process_receipt(content, letter)
            case "sync":
                self._process_sync(me, content, letter, unsealed)
            case "senderKey" | "groupKey" | "profileKey":
                self._process_key(me, content, letter, unsealed)
            case "retry" | "resync":
                self._process_retry(content, letter, unsealed)
            case kind if kind in _SILENT:
                return
            case _:
                self._process_message(me, content, letter)

    def record(self, said: ContentEvent, now: int, *, is_handled: bool = False) -> None:
        """Into the journal, and to be known again; what an own device said is read already."""
        timer = getattr(said, "timer_seconds", None)
        number = self._journal.add(said, is_handled=is_handled)
        known = KnownContent(said.conversation_id, said.at, (said.sender_device_id,), number, timer)
        self._journal.remember_content(said.id, said.sender_id, known, now)
        if said.is_own:
            mark_answered(self._store, said.conversation_id)
        if timer and said.is_own:
            self._journal.set_expiry(number, now + timer * 1_000)
        if isinstance(said, Unsend) and said.is_own:
            SendQueue(self._store).delete_sent(said.of.id)
        if isinstance(said, TimerSet):
            self._store.put(
                kinds.TIMER, str(said.conversation_id), str(said.seconds).encode() if said.seconds else None
            )

    def _check_member(
        self, me: LocalDevice, content: Content, letter: IncomingEnvelope, unsealed: OpenedContent
    ) -> None:
        """Contents of a group count from its members, and its keys from nobody else; those of the own account from devices of its verified list. Raises MemberForged, IdentityForged, BadContent.

        Until members are signed for, the node tells who they are; it cannot do so unseen (`memberAdded`).
        """
        pin, sender = self._pins.get(letter.conversation_id), letter.sender.user_id
        if sender == me.user_id:
            session = unsealed.session
            if session is not None and not self._list_check.is_listed(letter.sender, session.peer, letter.at):
                raise IdentityForged
            return
        if pin is None:
            if content.kind in _GROUP_KEYS:
                raise MemberForged
            return
        if pin.is_group and not pin.allows_sender(sender):
            self._admit_unseen_member(pin, content, letter)
        if not pin.is_group and content.kind in _GROUP_KEYS:
            raise BadContent

    def _admit_unseen_member(self, pin: ConversationPin, content: Content, letter: IncomingEnvelope) -> None:
        """Who joined and left a group between two looks was a member, and is told as a newcomer. Raises MemberForged where nobody can have done so, or a key of the title comes."""
        if not pin.is_skipping or content.kind == "groupKey":
            raise MemberForged
        add_member_event(self._store, letter.conversation_id, letter.sender.user_id)
        self._pins.save(letter.conversation_id, pin.with_former_member(letter.sender.user_id))

    def _process_message(self, me: LocalDevice, content: Content, letter: IncomingEnvelope) -> None:
        known = self._journal.find_content(content.id, letter.sender.user_id)
        if known is not None and letter.sender.device_id in known.devices:
            return
        is_own = letter.sender.user_id == me.user_id
        said = content_event(content, letter.sender, is_own=is_own)
        if isinstance(said, Edit | Unsend) and not self._is_allowed_change(content, said):
            return
        self.record(said, letter.at)
        if not is_own:
            queue_receipt(self._store, content.conversation_id, letter.sender.user_id, content.id)

    def _is_allowed_change(self, content: Content, change: Edit | Unsend) -> bool:
        """Only the sender of a content changes it, within a day."""
        of = self._journal.find_content(change.of.id, change.of.sender_id)
        return of is not None and may_change(content, change.sender_id, change.of.sender_id, of.at)

    def _process_receipt(self, content: Content, letter: IncomingEnvelope) -> None:
        receipt = receipt_event(content, letter.sender)
        if receipt is not None:
            self._journal.add(receipt)
            for each in receipt.targets:
                self._read_receipts.record_receipt(each, receipt.sender_id, receipt.state, letter.at)

    def _process_sync(
        self, me: LocalDevice, content: Content, letter: IncomingEnvelope, unsealed: OpenedContent
    ) -> None:
        """What another own device sent, read, pinned or decided; it counts only from a device of the own verified list. Anything else is of a newer version, and changes nothing."""
        sync = content.fields.get("sync")
        if letter.sender.user_id != me.user_id or not isinstance(sync, dict):
            raise BadContent
        if unsealed.session is None or not self._list_check.is_listed(letter.sender, unsealed.session.peer):
            raise IdentityForged
        if "pins" in sync or "decided" in sync:
            self._process_account_sync(me, sync, letter)
        elif "sent" in sync:
            inner = read_content(orjson.dumps(sync["sent"]), letter.conversation_id)
            self._process_message(me, inner, letter)
        elif "read" in sync:
            read = read_sync_event(content, sync["read"])
            self._journal.add(read)
            for target in read.targets:
                self._read_receipts.mark_read(target, letter.at)
                self.start_timer(target.id, target.sender_id, letter.at)

    def _process_account_sync(self, me: LocalDevice, sync: Mapping[str, Any], letter: IncomingEnvelope) -> None:
        """What is about the account itself travels in its conversation with itself, and counts nowhere else. Raises BadContent."""
        if letter.conversation_id != me.user_id:
            raise BadContent
        if "pins" in sync:
            self._pin_registry.merge(HandedPins.read(sync["pins"]), letter.at)
        else:
            self._decisions.apply_remote(IdentityPin.read(sync["decided"]))

    def start_timer(self, content_id: UUID, sender_id: UUID, now: int) -> None:
        """It was read: if it is to disappear, its time runs from here."""
        known = self._journal.find_content(content_id, sender_id)
        if known is not None and known.timer_seconds:
            self._journal.set_expiry(known.number, now + known.timer_seconds * 1_000)

    def _process_key(
        self, me: LocalDevice, content: Content, letter: IncomingEnvelope, unsealed: OpenedContent
    ) -> None:
        if unsealed.session is None:
            # Only a session between two devices says whose key it is.
            raise BadContent
        fields = content.fields
        match content.kind:
            case "senderKey":
                self._unsealing.accept_sender_key(
                    SenderKeyScope(letter.conversation_id, letter.sender), Distribution.read(content), letter.at
                )
            case "groupKey":
                pin = self._pins.get(letter.conversation_id)
                if pin is not None and letter.sender.user_id in pin.former:
                    return
                told = read_count(fields, "generation"), read_bytes(fields, "groupKey", 32)
                self._group_keys.accept(letter.conversation_id, letter.sender, *told)
            case _:
                self._record_profile_key(me, letter.sender.user_id, read_bytes(fields, "profileKey", 32))

    def _record_profile_key(self, me: LocalDevice, sender_id: UUID, key: bytes) -> None:
        if sender_id == me.user_id:
            # Another own device shows something: this one tells the key too.
            Profiles(self._store).mark_published()
            return
        self._store.put(kinds.PROFILE_KEY, str(sender_id), key)

    def _process_retry(self, content: Content, letter: IncomingEnvelope, unsealed: OpenedContent) -> None:
        if unsealed.session is None:
            raise BadContent
        if content.kind == "retry":
            self._retries.answer_retry(content, letter, unsealed.session)
            return
        self._retries.activate_session(letter.sender, unsealed.session)
        self._journal.add(unreadable_event(letter, "resync", read_id(content.fields.get("messageId"))))


def unreadable_event(
    letter: IncomingEnvelope, reason: str, message_id: UUID, *, is_awaited: bool = False
) -> Unreadable:
    """The event about a letter that could not be read."""
    return Unreadable(
        conversation_id=letter.conversation_id,
        sender_id=letter.sender.user_id,
        sender_device_id=letter.sender.device_id,
        message_id=message_id,
        reason=reason,
        is_awaited=is_awaited,
    )


def queue_receipt(
    store: Store, conversation_id: UUID, person: UUID, content_id: UUID, kind: str = kinds.DELIVERY_RECEIPTS_DUE
) -> None:
    """A receipt is due: those of one conversation go together."""
    name = f"{conversation_id}/{person}"
    kept = store.get(kind, name)
    due: tuple[Any, ...] = unpack(tuple[UUID, UUID, tuple[UUID, ...]], kept) if kept else (conversation_id, person, ())
    store.put(kind, name, pack((conversation_id, person, (*due[2], content_id))))
