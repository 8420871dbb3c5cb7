"""The retry rules (docs/signal-protocol.md, "Retry"): ask again for what could not be read, and send again what others could not read."""

from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from vyry.client.chain import text
from vyry.client.device import Me
from vyry.client.outgoing import Outgoing, Queue, Sent, new_id, only
from vyry.client.own_keys import OwnKeys
from vyry.client.packing import pack, unpack
from vyry.client.peers import Peers
from vyry.client.reading import read_id
from vyry.client.store import DAY, Store
from vyry.client.unsealing import Letter
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import (
    BadMessage,
    JumpTooFar,
    PrekeyUnknown,
    Refusal,
    SenderKeyUnknown,
    SessionUnknown,
)


#: So many retries in an hour, asked of a device or answered to it.
MOST_AN_HOUR: Final = 5
HOUR: Final = 3_600_000
_KNOWN_DAYS: Final = 31
_ASK: Final = (SessionUnknown, PrekeyUnknown, BadMessage, JumpTooFar)
_ASK_IN_GROUP: Final = (SenderKeyUnknown, JumpTooFar)


class Retries:
    """Asks and answers, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._queue = Queue(store)
        self._keys = OwnKeys(store)

    def ask(self, letter: Letter, refusal: Refusal) -> bool:
        """Ask for a letter again, if the rules allow it; says whether it was asked for."""
        key_id = letter.sender_key_id
        if not isinstance(refusal, _ASK if key_id is None else _ASK_IN_GROUP):
            return False
        if not self._allows("asked", letter.name, letter.sender, letter.at):
            return False
        if key_id is None:
            self._peers.keep_sessions(letter.sender, self._peers.sessions(letter.sender).archive())
        fields: dict[str, Any] = {"messageId": str(letter.message_id), "reason": refusal.name}
        if key_id is not None:
            fields["senderKeyId"] = text(key_id)
        self._send("retry", fields, letter)
        return True

    def answer(self, asked: Content, letter: Letter, session_id: bytes) -> None:
        """Somebody could not read what they name: send it again, or say that it is gone. Raises BadContent."""
        message_id = read_id(asked.fields.get("messageId"))
        self.settle(letter.sender, session_id)
        name = f"{message_id}/{letter.sender.user_id}/{letter.sender.device_id}"
        if not self._allows("answered", name, letter.sender, letter.at):
            return
        sent = self._queue.sent(message_id)
        if sent is None or only(letter.sender) not in sent.devices:
            self._send("resync", {"messageId": str(message_id)}, letter)
            return
        if sent.is_group:
            self._tell_key(letter, is_lost=asked.fields.get("reason") == JumpTooFar.__name__)
        self._resend(sent, message_id, letter)

    def settle(self, sender: Address, session_id: bytes) -> None:
        """The session of a retry or resync is the active one, whatever the tie-break said. Raises SessionUnknown."""
        self._peers.keep_sessions(sender, self._peers.sessions(sender).activate(session_id))

    def _tell_key(self, letter: Letter, *, is_lost: bool) -> None:
        """The present sender key goes before what was written under it; one that ran away from its reader is replaced."""
        if is_lost:
            self._keys.keep(letter.conversation_id, None)
            return
        held = self._keys.untell(letter.conversation_id, letter.sender)
        if held is not None:
            self._send("senderKey", held.fields(), letter)

    def _resend(self, sent: Sent, message_id: UUID, letter: Letter) -> None:
        me = Me.of(self._store)
        plaintext = sent.own if sent.own and letter.sender.user_id == me.user_id else sent.plaintext
        content = read_content(plaintext, letter.conversation_id)
        again = replace(content, fields={**content.fields, "resendOf": str(message_id)})
        self._add(again, letter)

    def _send(self, kind: str, fields: dict[str, Any], letter: Letter) -> None:
        self._add(Content(kind, new_id(letter.at), letter.at, letter.conversation_id, fields), letter)

    def _add(self, content: Content, letter: Letter) -> None:
        to = Outgoing.of(content, letter.at, "control")
        self._queue.add(replace(to, people=(letter.sender.user_id,), device=only(letter.sender), is_pairwise=True))

    def _allows(self, what: str, name: str, device: Address, now: int) -> bool:
        """Once for each letter, and five in an hour for each device."""
        counted = f"{device.user_id}/{device.device_id}"
        kept = self._store.get(f"{what} at", counted)
        times = [at for at in unpack(tuple[int, ...], kept) if now - HOUR < at <= now] if kept else []
        if len(times) >= MOST_AN_HOUR or self._store.get(what, name) is not None:
            return False
        self._store.put(f"{what} at", counted, pack((*times, now)), until=now + DAY)
        self._store.put(what, name, b"once", until=now + _KNOWN_DAYS * DAY)
        return True
