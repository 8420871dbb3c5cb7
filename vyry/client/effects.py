"""What contents do: what was said goes into the journal once, receipts and keys to where they belong (docs/signal-protocol.md, "Plaintext")."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.acquaintances import note_written
from vyry.client.circles import add_member
from vyry.client.conversation_pins import ConversationPin, Pins
from vyry.client.decided import Decisions
from vyry.client.device import Me
from vyry.client.events import Edit, Said, TimerSet, Unreadable, Unsend
from vyry.client.group_keys import GroupKeys
from vyry.client.journal import Journal, Known
from vyry.client.list_witness import ListWitness
from vyry.client.marks import Marks
from vyry.client.outgoing import Queue
from vyry.client.packing import pack, unpack
from vyry.client.pin_book import PinBook
from vyry.client.profiles import KEY as PROFILE_KEY
from vyry.client.profiles import Profiles
from vyry.client.reading import count, read_bytes, read_event_of, read_id, receipt_event, said_event
from vyry.client.retries import Retries
from vyry.client.store import Store
from vyry.client.unsealing import Letter, Unsealed, Unsealing
from vyry.signal_protocol.contents import Content, may_change, read_content
from vyry.signal_protocol.pins import HandedPins, IdentityPin
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import BadContent, IdentityForged, MemberForged
from vyry.signal_protocol.sender_keys import Distribution, Where


#: Kinds that are about keys and devices: nobody is told of them.
_SILENT: Final = ("call",)
#: Kinds that tell keys of a group.
_GROUP_KEYS: Final = ("senderKey", "groupKey")
#: Receipts that are due.
DELIVERED: Final = "receipt due"
READ: Final = "read due"


class Effects:
    """Lets contents take effect, inside the transaction of whoever calls."""

    def __init__(self, store: Store, unsealing: Unsealing, retries: Retries) -> None:
        self._store = store
        self._unsealing = unsealing
        self._retries = retries
        self._journal = Journal(store)
        self._marks = Marks(store)
        self._group_keys = GroupKeys(store)
        self._pins = Pins(store)
        self._witness = ListWitness(store)
        self._book = PinBook(store)
        self._decisions = Decisions(store)

    def take(self, me: Me, letter: Letter, unsealed: Unsealed) -> None:
        """Let it count. Raises a Refusal: then it counts for nothing."""
        content = read_content(unsealed.plaintext, letter.conversation_id)
        self._check_member(me, content, letter, unsealed)
        self._witness.look(letter, unsealed, content)
        match content.kind:
            case "receipt":
                self._receipt(content, letter)
            case "sync":
                self._sync(me, content, letter, unsealed)
            case "senderKey" | "groupKey" | "profileKey":
                self._key(me, content, letter, unsealed)
            case "retry" | "resync":
                self._asked(content, letter, unsealed)
            case kind if kind in _SILENT:
                return
            case _:
                self._said(me, content, letter)

    def keep(self, said: Said, now: int, *, is_taken: bool = False) -> None:
        """Into the journal, and to be known again; what an own device said is read already."""
        timer = getattr(said, "timer_seconds", None)
        number = self._journal.add(said, is_taken=is_taken)
        known = Known(said.conversation_id, said.at, (said.sender_device_id,), number, timer)
        self._journal.know(said.id, said.sender_id, known, now)
        if said.is_own:
            note_written(self._store, said.conversation_id)
        if timer and said.is_own:
            self._journal.end(number, now + timer * 1_000)
        if isinstance(said, Unsend) and said.is_own:
            Queue(self._store).unsend(said.of.id)
        if isinstance(said, TimerSet):
            self._store.put("timer", str(said.conversation_id), str(said.seconds).encode())

    def _check_member(self, me: Me, content: Content, letter: Letter, unsealed: Unsealed) -> None:
        """Contents of a group count from its members, and its keys from nobody else; those of the own account from devices of its verified list. Raises MemberForged, IdentityForged, BadContent.

        Until members are signed for, the node tells who they are; it cannot do so unseen (`memberAdded`).
        """
        pin, sender = self._pins.get(letter.conversation_id), letter.sender.user_id
        if sender == me.user_id:
            session = unsealed.session
            if session is not None and not self._witness.is_listed(letter.sender, session.peer, letter.at):
                raise IdentityForged
            return
        if pin is None:
            if content.kind in _GROUP_KEYS:
                raise MemberForged
            return
        if pin.is_group and not pin.admits(sender):
            self._meet_passer(pin, content, letter)
        if not pin.is_group and content.kind in _GROUP_KEYS:
            raise BadContent

    def _meet_passer(self, pin: ConversationPin, content: Content, letter: Letter) -> None:
        """Who joined and left a group between two looks was a member, and is told as a newcomer. Raises MemberForged where nobody can have done so, or a key of the title comes."""
        if not pin.is_skipping or content.kind == "groupKey":
            raise MemberForged
        add_member(self._store, letter.conversation_id, letter.sender.user_id)
        self._pins.keep(letter.conversation_id, pin.heard(letter.sender.user_id))

    def _said(self, me: Me, content: Content, letter: Letter) -> None:
        known = self._journal.known(content.id, letter.sender.user_id)
        if known is not None and letter.sender.device_id in known.devices:
            return
        is_own = letter.sender.user_id == me.user_id
        said = said_event(content, letter.sender, is_own=is_own)
        if isinstance(said, Edit | Unsend) and not self._counts(content, said):
            return
        self.keep(said, letter.at)
        if not is_own:
            note_due(self._store, content.conversation_id, letter.sender.user_id, content.id)

    def _counts(self, content: Content, change: Edit | Unsend) -> bool:
        """Only the sender of a content changes it, within a day."""
        of = self._journal.known(change.of.id, change.of.sender_id)
        return of is not None and may_change(content, change.sender_id, change.of.sender_id, of.at)

    def _receipt(self, content: Content, letter: Letter) -> None:
        receipt = receipt_event(content, letter.sender)
        if receipt is not None:
            self._journal.add(receipt)
            for each in receipt.targets:
                self._marks.receive(each, receipt.sender_id, receipt.state, letter.at)

    def _sync(self, me: Me, content: Content, letter: Letter, unsealed: Unsealed) -> None:
        """What another own device sent, read, pinned or decided; it counts only from a device of the own verified list. Anything else is of a newer version, and changes nothing."""
        sync = content.fields.get("sync")
        if letter.sender.user_id != me.user_id or not isinstance(sync, dict):
            raise BadContent
        if unsealed.session is None or not self._witness.is_listed(letter.sender, unsealed.session.peer):
            raise IdentityForged
        if "pins" in sync or "decided" in sync:
            self._own_sync(me, sync, letter)
        elif "sent" in sync:
            inner = read_content(orjson.dumps(sync["sent"]), letter.conversation_id)
            self._said(me, inner, letter)
        elif "read" in sync:
            read = read_event_of(content, sync["read"])
            self._journal.add(read)
            for target in read.targets:
                self._marks.read(target, letter.at)
                self.begin_timer(target.id, target.sender_id, letter.at)

    def _own_sync(self, me: Me, sync: Mapping[str, Any], letter: Letter) -> None:
        """What is about the account itself travels in its conversation with itself, and counts nowhere else. Raises BadContent."""
        if letter.conversation_id != me.user_id:
            raise BadContent
        if "pins" in sync:
            self._book.take(HandedPins.read(sync["pins"]), letter.at)
        else:
            self._decisions.take(IdentityPin.read(sync["decided"]))

    def begin_timer(self, content_id: UUID, sender_id: UUID, now: int) -> None:
        """It was read: if it is to disappear, its time runs from here."""
        known = self._journal.known(content_id, sender_id)
        if known is not None and known.timer_seconds:
            self._journal.end(known.number, now + known.timer_seconds * 1_000)

    def _key(self, me: Me, content: Content, letter: Letter, unsealed: Unsealed) -> None:
        if unsealed.session is None:
            # Only a session between two devices says whose key it is.
            raise BadContent
        fields = content.fields
        match content.kind:
            case "senderKey":
                self._unsealing.accept(
                    Where(letter.conversation_id, letter.sender), Distribution.read(content), letter.at
                )
            case "groupKey":
                pin = self._pins.get(letter.conversation_id)
                if pin is not None and letter.sender.user_id in pin.former:
                    return
                told = count(fields, "generation"), read_bytes(fields, "groupKey", 32)
                self._group_keys.accept(letter.conversation_id, letter.sender, *told)
            case _:
                self._profile_key(me, letter.sender.user_id, read_bytes(fields, "profileKey", 32))

    def _profile_key(self, me: Me, sender_id: UUID, key: bytes) -> None:
        if sender_id == me.user_id:
            # Another own device shows something: this one tells the key too.
            Profiles(self._store).note_shown()
            return
        self._store.put(PROFILE_KEY, str(sender_id), key)

    def _asked(self, content: Content, letter: Letter, unsealed: Unsealed) -> None:
        if unsealed.session is None:
            raise BadContent
        if content.kind == "retry":
            self._retries.answer(content, letter, unsealed.session)
            return
        self._retries.settle(letter.sender, unsealed.session)
        self._journal.add(unreadable(letter, "resync", read_id(content.fields.get("messageId"))))


def unreadable(letter: Letter, reason: str, message_id: UUID, *, is_awaited: bool = False) -> Unreadable:
    """The event about a letter that could not be read."""
    return Unreadable(
        conversation_id=letter.conversation_id,
        sender_id=letter.sender.user_id,
        sender_device_id=letter.sender.device_id,
        message_id=message_id,
        reason=reason,
        is_awaited=is_awaited,
    )


def note_due(store: Store, conversation_id: UUID, person: UUID, content_id: UUID, kind: str = DELIVERED) -> None:
    """A receipt is due: those of one conversation go together."""
    name = f"{conversation_id}/{person}"
    kept = store.get(kind, name)
    due: tuple[Any, ...] = unpack(tuple[UUID, UUID, tuple[UUID, ...]], kept) if kept else (conversation_id, person, ())
    store.put(kind, name, pack((conversation_id, person, (*due[2], content_id))))


def own_address(me: Me) -> Address:
    """Where this device is."""
    return Address(me.user_id, me.device_id)
