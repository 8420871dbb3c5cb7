"""The retry rules (docs/signal-protocol.md, "Retry"): ask again for what could not be read, and send again what others could not read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from vyry.client.device import Me
from vyry.client.outgoing import Outgoing, Queue, Sent, new_id, only
from vyry.client.own_keys import OwnKeys
from vyry.client.packing import pack, unpack
from vyry.client.peers import Peers
from vyry.client.store import DAY, Store
from vyry.client.unsealing import Letter
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import JumpTooFar, Refusal
from vyry.signal_protocol.retries import Asked, Remedy, Resync, Retry, again, remedy
from vyry.signal_protocol.sender_keys import Distribution


#: A record of what was asked is forgotten when nobody was asked for so long.
_KNOWN_DAYS: Final = 31


class Retries:
    """Asks and answers, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._queue = Queue(store)
        self._keys = OwnKeys(store)

    def ask(self, letter: Letter, refusal: Refusal) -> bool:
        """Ask for a letter again, if the rules allow it; says whether it was asked for."""
        way = remedy(refusal, letter.content)
        if way is None or not self._allows("asked", letter.message_id, letter):
            return False
        if way is Remedy.BEGIN_ANEW:
            self._peers.keep_sessions(letter.sender, self._peers.sessions(letter.sender).archive())
        self._send(Retry.KIND, Retry(letter.message_id, refusal.name, letter.sender_key_id).fields(), letter)
        return True

    def answer(self, asked: Content, letter: Letter, session_id: bytes) -> None:
        """Somebody could not read what they name: send it again, or say that it is gone. Raises BadContent."""
        wanted = Retry.read(asked)
        self.settle(letter.sender, session_id)
        if not self._allows("answered", wanted.message_id, letter):
            return
        sent = self._queue.sent(wanted.message_id)
        if sent is None or not sent.may_go_again(letter.sender, letter.at):
            self._send(Resync.KIND, Resync(wanted.message_id).fields(), letter)
            return
        if sent.is_group:
            self._tell_key(letter, is_lost=wanted.reason == JumpTooFar.__name__)
        self._resend(sent, wanted.message_id, letter)

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
            self._send(Distribution.KIND, held.key.distribution().fields(), letter)

    def _resend(self, sent: Sent, message_id: UUID, letter: Letter) -> None:
        me = Me.of(self._store)
        plaintext = sent.own if sent.own and letter.sender.user_id == me.user_id else sent.plaintext
        content = read_content(plaintext, letter.conversation_id)
        self._add(again(content, message_id), letter)

    def _send(self, kind: str, fields: Mapping[str, Any], letter: Letter) -> None:
        self._add(Content(kind, new_id(letter.at), letter.at, letter.conversation_id, fields), letter)

    def _add(self, content: Content, letter: Letter) -> None:
        to = Outgoing.of(content, letter.at, "control")
        self._queue.add(replace(to, people=(letter.sender.user_id,), device=only(letter.sender), is_pairwise=True))

    def _allows(self, what: str, message_id: UUID, letter: Letter) -> bool:
        """Once for each envelope, and five in an hour for each device; for what is asked as for what is answered."""
        device = f"{letter.sender.user_id}/{letter.sender.device_id}"
        kept = self._store.get(what, device)
        known = unpack(Asked, kept) if kept else Asked()
        if not known.may_ask(message_id, letter.at):
            return False
        known = known.asking(message_id, letter.at)
        self._store.put(what, device, pack(known), until=letter.at + _KNOWN_DAYS * DAY)
        return True
