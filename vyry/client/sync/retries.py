"""The retry rules (docs/signal-protocol.md, "Retry"): request what could not be opened, and resend what others could not open."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import OwnSenderKeys, Peers, device_row_name
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


#: Days after the last request until the record of a device expires.
_KNOWN_DAYS: Final = 31
#: Ms between two new generations that readers force.
_FORCED_MILLISECONDS: Final = 3_600_000
#: Reasons that end an own sender key: its reader cannot follow, or it was used twice.
_ENDS_GENERATION: Final = (JumpTooFar.__name__, SenderRewound.__name__)


class Retries:
    """Requests and answers retries, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._queue = SendQueue(store)
        self._sender_keys = OwnSenderKeys(store)

    def request_resend(self, envelope: IncomingEnvelope, refusal: Refusal) -> bool:
        """Request an envelope again, if the rules allow it; returns whether it was requested."""
        way = remedy(refusal, envelope.content)
        is_first = not self._load_history(kinds.RETRIES_ASKED, envelope).has_recent(envelope.at)
        if way is None or not self._consume_allowance(kinds.RETRIES_ASKED, envelope.message_id, envelope):
            return False
        sessions = self._peers.sessions(envelope.sender)
        # Others can forge bytes that do not open: one such envelope ends no session that is in use.
        is_in_use = sessions.active is not None and not sessions.active.is_unanswered
        if way is Remedy.BEGIN_ANEW and not (is_first and is_in_use):
            self._peers.save_sessions(envelope.sender, sessions.archive())
        self._send(Retry.KIND, Retry(envelope.message_id, refusal.name, envelope.sender_key_id).fields(), envelope)
        return True

    def answer_retry(self, content: Content, envelope: IncomingEnvelope, session: SourceSession) -> None:
        """A device could not open a content: resend it, if it was sealed for that very device, or say that it is gone. Raises BadContent."""
        retry = Retry.read(content)
        if not self._consume_allowance(kinds.RETRIES_ANSWERED, retry.message_id, envelope):
            return
        self.activate_session(envelope.sender, session)
        asker = SentTo(envelope.sender.user_id, envelope.sender.device_id, hash_device(session.peer))
        sent = self._queue.find_sent(retry.message_id, envelope.at)
        if sent is None or not sent.may_resend_to(asker, envelope.at):
            self._send(Resync.KIND, Resync(retry.message_id).fields(), envelope, asker)
            return
        kind = str(read_fields(sent.plaintext)["kind"])
        if kind in KEY_KINDS:
            self._resend_key(kind, envelope, asker)
            return
        if sent.is_group:
            self._resend_sender_key(envelope, asker, is_lost=retry.reason in _ENDS_GENERATION)
        self._resend(sent, retry.message_id, envelope, asker)

    def activate_session(self, sender: Address, session: SourceSession) -> None:
        """The session of a retry or resync becomes the active one, whatever the tie-break said. Raises SessionUnknown."""
        self._peers.save_sessions(sender, self._peers.sessions(sender).activate(session.session_id))

    def _resend_key(self, kind: str, envelope: IncomingEnvelope, asker: SentTo) -> None:
        """A key was lost: the current one is sent, by the rules for it."""
        match kind:
            case "senderKey":
                self._resend_sender_key(envelope, asker, is_lost=False)
            case "groupKey":
                GroupTasks(self._store).add(GroupTask(envelope.conversation_id, (envelope.sender.user_id,)))
            case _:
                self._store.put(kinds.PROFILE_KEY_SENT, str(envelope.sender.user_id), None)

    def _resend_sender_key(self, envelope: IncomingEnvelope, asker: SentTo, *, is_lost: bool) -> None:
        """Send the current sender key before the content under it; if its reader cannot follow, replace it, at most once an hour."""
        if is_lost and self._may_replace(envelope):
            self._sender_keys.save(envelope.conversation_id, None)
            return
        own = self._sender_keys.remove_recipient(envelope.conversation_id, envelope.sender)
        if own is not None:
            self._send(Distribution.KIND, own.key.distribution().fields(), envelope, asker)

    def _may_replace(self, envelope: IncomingEnvelope) -> bool:
        """A member could force new generations for ever: one an hour and conversation is enough for an honest one."""
        last = self._store.get(kinds.FORCED_GENERATION, str(envelope.conversation_id))
        if last is not None and envelope.at - int(last) < _FORCED_MILLISECONDS:
            return False
        self._store.put(
            kinds.FORCED_GENERATION,
            str(envelope.conversation_id),
            str(envelope.at).encode(),
            until=envelope.at + DAY_MS,
        )
        return True

    def _resend(self, sent: SentContent, message_id: UUID, envelope: IncomingEnvelope, asker: SentTo) -> None:
        me = LocalDevice.load(self._store)
        plaintext = sent.own if sent.own and envelope.sender.user_id == me.user_id else sent.plaintext
        content = read_content(plaintext, envelope.conversation_id)
        self._queue_for_device(as_resend(content, message_id), envelope, asker)

    def _send(
        self, kind: str, fields: Mapping[str, Any], envelope: IncomingEnvelope, asker: SentTo | None = None
    ) -> None:
        self._queue_for_device(
            Content(kind, new_id(envelope.at), envelope.at, envelope.conversation_id, fields), envelope, asker
        )

    def _queue_for_device(self, content: Content, envelope: IncomingEnvelope, asker: SentTo | None) -> None:
        """Queue it for that device alone, and an answer for no other device that may get the same id."""
        outgoing = Outgoing.to_people(content, envelope.at, (envelope.sender.user_id,))
        hashed = asker.device_hash if asker is not None else None
        self._queue.add(replace(outgoing, device=device_key(envelope.sender), device_hash=hashed))

    def _consume_allowance(self, kind: str, message_id: UUID, envelope: IncomingEnvelope) -> bool:
        """Once for each envelope, and five an hour for each device, for requests as for answers."""
        history = self._load_history(kind, envelope)
        if not history.may_ask(message_id, envelope.at):
            return False
        history = history.with_request(message_id, envelope.at)
        self._store.put(kind, device_row_name(envelope.sender), pack(history), until=envelope.at + _KNOWN_DAYS * DAY_MS)
        return True

    def _load_history(self, kind: str, envelope: IncomingEnvelope) -> RetryHistory:
        packed = self._store.get(kind, device_row_name(envelope.sender))
        return unpack(RetryHistory, packed) if packed else RetryHistory()
