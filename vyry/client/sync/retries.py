"""The retry rules (docs/signal-protocol.md, "Retry"): ask again for what could not be read, and send again what others could not read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.own_sender_keys import OwnSenderKeys
from vyry.client.crypto.peers import Peers
from vyry.client.crypto.unsealing import IncomingEnvelope, SourceSession
from vyry.client.store import kinds
from vyry.client.store.outgoing import (
    KEY_KINDS,
    Outgoing,
    SendQueue,
    SentContent,
    SentTo,
    device_key,
    hash_device,
    read_fields,
)
from vyry.client.store.packing import pack, unpack
from vyry.client.store.pending_groups import GroupTask, GroupTasks
from vyry.client.store.store import DAY_MS, Store
from vyry.kernel.ids import new_id
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import JumpTooFar, Refusal, SenderRewound
from vyry.signal_protocol.retries import Remedy, Resync, Retry, RetryHistory, as_resend, remedy
from vyry.signal_protocol.sender_keys import Distribution


#: A record of what was asked is forgotten when nobody was asked for so long.
_KNOWN_DAYS: Final = 31
#: A reader that lost a generation makes its sender begin another one at most this often.
_FORCED_MILLISECONDS: Final = 3_600_000
#: Reasons after which an own sender key is used no more: its reader cannot follow, or it was used twice.
_ENDS_GENERATION: Final = (JumpTooFar.__name__, SenderRewound.__name__)


class Retries:
    """Asks and answers, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._queue = SendQueue(store)
        self._sender_keys = OwnSenderKeys(store)

    def request_resend(self, letter: IncomingEnvelope, refusal: Refusal) -> bool:
        """Ask for a letter again, if the rules allow it; says whether it was asked for."""
        way = remedy(refusal, letter.content)
        is_first = not self._load_history(kinds.RETRIES_ASKED, letter).has_recent(letter.at)
        if way is None or not self._consume_allowance(kinds.RETRIES_ASKED, letter.message_id, letter):
            return False
        sessions = self._peers.sessions(letter.sender)
        # Anybody on the way can make bytes that open nowhere: one such envelope ends no session that is in use.
        is_in_use = sessions.active is not None and not sessions.active.is_unanswered
        if way is Remedy.BEGIN_ANEW and not (is_first and is_in_use):
            self._peers.save_sessions(letter.sender, sessions.archive())
        self._send(Retry.KIND, Retry(letter.message_id, refusal.name, letter.sender_key_id).fields(), letter)
        return True

    def answer_retry(self, asked: Content, letter: IncomingEnvelope, session: SourceSession) -> None:
        """A device could not read what it names: send it again, if it was sealed for that very device, or say that it is gone. Raises BadContent."""
        wanted = Retry.read(asked)
        if not self._consume_allowance(kinds.RETRIES_ANSWERED, wanted.message_id, letter):
            return
        self.activate_session(letter.sender, session)
        asker = SentTo(letter.sender.user_id, letter.sender.device_id, hash_device(session.peer))
        sent = self._queue.find_sent(wanted.message_id, letter.at)
        if sent is None or not sent.may_resend_to(asker, letter.at):
            self._send(Resync.KIND, Resync(wanted.message_id).fields(), letter, asker)
            return
        kind = str(read_fields(sent.plaintext)["kind"])
        if kind in KEY_KINDS:
            self._resend_key(kind, letter, asker)
            return
        if sent.is_group:
            self._resend_sender_key(letter, asker, is_lost=wanted.reason in _ENDS_GENERATION)
        self._resend(sent, wanted.message_id, letter, asker)

    def activate_session(self, sender: Address, session: SourceSession) -> None:
        """The session of a retry or resync is the active one, whatever the tie-break said. Raises SessionUnknown."""
        self._peers.save_sessions(sender, self._peers.sessions(sender).activate(session.session_id))

    def _resend_key(self, kind: str, letter: IncomingEnvelope, asker: SentTo) -> None:
        """A key was lost on its way: the present one is told, by the rules for it."""
        match kind:
            case "senderKey":
                self._resend_sender_key(letter, asker, is_lost=False)
            case "groupKey":
                GroupTasks(self._store).add(GroupTask(letter.conversation_id, (letter.sender.user_id,)))
            case _:
                self._store.put(kinds.PROFILE_KEY_SENT, str(letter.sender.user_id), None)

    def _resend_sender_key(self, letter: IncomingEnvelope, asker: SentTo, *, is_lost: bool) -> None:
        """The present sender key goes before what was written under it; one that ran away from its reader is replaced, once an hour."""
        if is_lost and self._may_replace(letter):
            self._sender_keys.save(letter.conversation_id, None)
            return
        held = self._sender_keys.remove_recipient(letter.conversation_id, letter.sender)
        if held is not None:
            self._send(Distribution.KIND, held.key.distribution().fields(), letter, asker)

    def _may_replace(self, letter: IncomingEnvelope) -> bool:
        """A member could have the others told a new generation for ever: one an hour and conversation is enough for an honest one."""
        kept = self._store.get(kinds.FORCED_GENERATION, str(letter.conversation_id))
        if kept is not None and letter.at - int(kept) < _FORCED_MILLISECONDS:
            return False
        self._store.put(
            kinds.FORCED_GENERATION, str(letter.conversation_id), str(letter.at).encode(), until=letter.at + DAY_MS
        )
        return True

    def _resend(self, sent: SentContent, message_id: UUID, letter: IncomingEnvelope, asker: SentTo) -> None:
        me = LocalDevice.load(self._store)
        plaintext = sent.own if sent.own and letter.sender.user_id == me.user_id else sent.plaintext
        content = read_content(plaintext, letter.conversation_id)
        self._queue_for_device(as_resend(content, message_id), letter, asker)

    def _send(
        self, kind: str, fields: Mapping[str, Any], letter: IncomingEnvelope, asker: SentTo | None = None
    ) -> None:
        self._queue_for_device(
            Content(kind, new_id(letter.at), letter.at, letter.conversation_id, fields), letter, asker
        )

    def _queue_for_device(self, content: Content, letter: IncomingEnvelope, asker: SentTo | None) -> None:
        """To that device alone, and, where an answer goes out, to no other one that may come under its number."""
        outgoing = Outgoing.to_people(content, letter.at, (letter.sender.user_id,))
        hashed = asker.device_hash if asker is not None else None
        self._queue.add(replace(outgoing, device=device_key(letter.sender), device_hash=hashed))

    def _consume_allowance(self, what: str, message_id: UUID, letter: IncomingEnvelope) -> bool:
        """Once for each envelope, and five in an hour for each device; for what is asked as for what is answered."""
        known = self._load_history(what, letter)
        if not known.may_ask(message_id, letter.at):
            return False
        known = known.with_request(message_id, letter.at)
        self._store.put(what, _device_key(letter), pack(known), until=letter.at + _KNOWN_DAYS * DAY_MS)
        return True

    def _load_history(self, what: str, letter: IncomingEnvelope) -> RetryHistory:
        kept = self._store.get(what, _device_key(letter))
        return unpack(RetryHistory, kept) if kept else RetryHistory()


def _device_key(letter: IncomingEnvelope) -> str:
    return f"{letter.sender.user_id}/{letter.sender.device_id}"
