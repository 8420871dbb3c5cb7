"""Sending: a content is queued, sealed once for exactly the current devices, and posted under one messageId until the node has answered.

A queued content is: waiting, held for a decision (`refused` says why; sending in its conversation stops), posted (deleted from the queue), or given up (a `notSent` event).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import orjson

from vyry.client.crypto.content_parser import content_event
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.pin_transfer import PinsPending
from vyry.client.crypto.sealed_profiles import ProfileKeySender
from vyry.client.crypto.sealing import ListsOutdated, Sealing
from vyry.client.errors import Refused
from vyry.client.store import kinds
from vyry.client.store.events import NotSent, Target
from vyry.client.store.journal import Journal, ReadReceipts
from vyry.client.store.outgoing import HeldConversations, Outgoing, PostedIds, SendQueue
from vyry.client.store.packing import unpack
from vyry.client.store.store import Store
from vyry.client.sync.content_processor import ContentProcessor, queue_receipt
from vyry.client.sync.pending_decisions import ChangedKeyPolicy
from vyry.client.sync.receipt_policy import ReceiptPolicy, ReceiptSettings
from vyry.client.transport.rest import RestClient, rate_limit_as_unreachable
from vyry.kernel.batches import batched
from vyry.kernel.ids import new_id
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.frame import pad
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import ConversationForged, IdentityChanged, IdentityForged, Refusal


#: Tries to seal one message: device lists that change more often are no accident.
_MAX_REPAIRS: Final = 8
#: Kinds that are never requested again.
_NOT_RESENDABLE: Final = ("receipt", "retry", "resync")
#: Refusals that the user decides about: what is to be sent there is held until then.
_NEEDS_DECISION: Final = (IdentityChanged, IdentityForged, ConversationForged)
#: Contents in one receipt: more would not fit.
_TARGETS_PER_RECEIPT: Final = 500


class Outbox:
    """Queues, seals and posts."""

    def __init__(
        self, store: Store, rest: RestClient, now: Callable[[], int], policy: ChangedKeyPolicy | None = None
    ) -> None:
        self._store = store
        self._rest = rest
        self._policy = policy
        self._now = now
        self._queue = SendQueue(store)
        self._posted_ids = PostedIds(store)
        self._sealing = Sealing(store, rest, now)
        self.directory: Final = self._sealing.directory
        self.pin_transfer: Final = self._sealing.pin_transfer
        self.receipt_policy: Final = ReceiptPolicy(store, rest, now)
        self._profile_keys = ProfileKeySender(store, self.directory, now)
        #: Contents that were given up or wait for a decision: content id -> reason.
        self.refused: Final[dict[UUID, str]] = {}
        self._held_conversations = HeldConversations(store)
        #: messageIds of contents that wait for a decision.
        self._held: Final[set[UUID]] = set()

    def queue_content(self, content: Content, processor: ContentProcessor) -> None:
        """Queue a content for every member, and add it to the history. An id that was queued before changes nothing. Raises BadContent, TooLarge."""
        with self._store.transaction():
            me = LocalDevice.load(self._store)
            if Journal(self._store).find_content(content.id, me.user_id) is not None:
                return
            content = self._with_timer(content)
            processor.record(
                content_event(content, Address(me.user_id, me.device_id), is_own=True), self._now(), is_handled=True
            )
            sync = {
                "sent": orjson.loads(content.pack()),
                "recipients": self.directory.known_members(content.conversation_id, me.user_id),
            }
            sync_plaintext = Content(
                "sync", new_id(self._now()), self._now(), content.conversation_id, {"sync": sync}
            ).pack()
            pad(sync_plaintext)
            self._queue.add(replace(Outgoing.from_content(content, self._now()), own=sync_plaintext))

    def _with_timer(self, content: Content) -> Content:
        """The content with the timer of its conversation, for a text without one of its own."""
        seconds = self._store.get(kinds.TIMER, str(content.conversation_id))
        if seconds is None or content.kind != "text" or "timerSeconds" in content.fields:
            return content
        return replace(content, fields={**content.fields, "timerSeconds": int(seconds)})

    def mark_read(self, conversation_id: UUID, targets: Sequence[Target], processor: ContentProcessor) -> None:
        """Contents of others were read on this device: their senders get a receipt, own other devices are notified, and timers start."""
        with self._store.transaction():
            me, now = LocalDevice.load(self._store), self._now()
            read_receipts = ReadReceipts(self._store)
            newly_read = [
                each for each in targets if each.sender_id != me.user_id and read_receipts.mark_read(each, now)
            ]
            for each in newly_read:
                processor.start_timer(each.id, each.sender_id, now)
                queue_receipt(self._store, conversation_id, each.sender_id, each.id, kinds.READ_RECEIPTS_DUE)
            for some in batched(newly_read, _TARGETS_PER_RECEIPT):
                sync = {"sync": {"read": [each.as_json() for each in some]}}
                content = Content("sync", new_id(now), now, conversation_id, sync)
                self._queue.add(Outgoing.to_own_devices(content, now))

    def has_pending(self) -> bool:
        """Whether anything is to be sent that waits for no decision."""
        waiting = any(each.message_id not in self._held for each in self._queue.pending())
        return waiting or any(
            self._store.all(kind) for kind in (kinds.DELIVERY_RECEIPTS_DUE, kinds.READ_RECEIPTS_DUE, kinds.GROUP_TASK)
        )

    def release_held(self) -> None:
        """The user has decided: held contents are sent."""
        self._held.clear()

    async def post_all(self) -> None:
        """Post the queue in order; a content that waits for a decision holds up only its own conversation. Raises Unreachable: then the rest stays queued; SessionEnded."""
        with suppress(Refused):
            await self.pin_transfer.queue_pending()
        await self._write_receipts()
        self._held.clear()
        # A posted message may queue more: the profile key.
        while waiting := [each for each in self._queue.pending() if each.message_id not in self._held]:
            stopped: dict[UUID, Refusal] = {}
            for outgoing in waiting:
                if (decision := stopped.get(outgoing.conversation_id)) is not None:
                    self._hold_for_decision(outgoing, decision)
                elif (decision := await self._post_or_give_up(outgoing)) is not None:
                    stopped[outgoing.conversation_id] = decision

    async def _post_or_give_up(self, outgoing: Outgoing) -> Refusal | None:
        """Post a content; returns the refusal that the user has to decide about before its conversation continues."""
        try:
            with rate_limit_as_unreachable():
                await self._post_by_policy(outgoing)
        except Refused as refused:
            self._give_up(outgoing, refused.code)
        except _NEEDS_DECISION as decision:
            self._hold_for_decision(outgoing, decision)
            return decision
        except Refusal as refused:
            self._give_up(outgoing, refused.name)
        else:
            self.refused.pop(outgoing.content_id, None)
        with self._store.transaction():
            self._held_conversations.remove(outgoing.conversation_id)
        return None

    def _hold_for_decision(self, outgoing: Outgoing, decision: Refusal) -> None:
        """Keep it in the queue; the user is notified once."""
        self._held.add(outgoing.message_id)
        if outgoing.lane != "mail":
            return
        self.refused[outgoing.content_id] = decision.name
        with self._store.transaction():
            self._held_conversations.add(outgoing.conversation_id, decision)
            if not outgoing.is_told:
                self._queue.save(replace(outgoing, is_told=True))
                Journal(self._store).add(_not_sent(outgoing, decision.name, is_kept=True))

    async def _post_by_policy(self, outgoing: Outgoing) -> None:
        """Post it; if the policy accepts a changed key, store the key and post again."""
        try:
            await self._post(outgoing)
        except IdentityChanged:
            if self._policy is None or not await self._policy.accept_changed():
                raise
            await self._post(replace(outgoing, body=None))

    async def _post(self, outgoing: Outgoing) -> None:
        for _ in range(_MAX_REPAIRS):
            if await self._try_post(outgoing):
                if outgoing.lane == "mail":
                    await self._profile_keys.queue_key(outgoing.conversation_id)
                self._queue.delete(outgoing)
                return
            # The node stored nothing under this id: it is free for the new sealing.
            outgoing = replace(outgoing, body=None)
        # The node insists on devices that do not verify, or reports others each time: nothing is sealed for them.
        raise IdentityForged

    async def _try_post(self, outgoing: Outgoing) -> bool:
        """One try; False when it has to be sealed again, for other devices."""
        try:
            sealed = outgoing if outgoing.body else await self._seal(outgoing)
            if sealed.body is not None:
                await self._send(sealed.body)
        except (ListsOutdated, PinsPending) as problem:
            if isinstance(problem, PinsPending):
                await self._post_first()
            return False
        except IdentityChanged:
            # In a group the other members still get it.
            if not (await self.directory.get(outgoing.conversation_id)).is_group:
                raise
            return False
        except Refused as refused:
            if refused.code != "STALE_DEVICES":
                raise
            self.directory.invalidate_stale(outgoing.conversation_id, refused.body, self._now())
            return False
        return True

    async def _post_first(self) -> None:
        """Post what a new own device has to receive first. Raises Unreachable, and the refusal that the user has to decide about."""
        for outgoing in self._queue.pending():
            if outgoing.is_first and (decision := await self._post_or_give_up(outgoing)) is not None:
                raise decision

    async def _seal(self, outgoing: Outgoing) -> Outgoing:
        body, sent = await self._sealing.seal(outgoing, self._send)
        sealed = replace(outgoing, body=body)
        with self._store.transaction():
            self._queue.save(sealed)
            self._posted_ids.add(sealed.message_id)
            if outgoing.kind not in _NOT_RESENDABLE:
                self._queue.record_sent(outgoing.message_id, sent, self._now())
        return sealed

    async def _send(self, body: bytes) -> None:
        fields = orjson.loads(body)
        with self._store.transaction():
            self._posted_ids.add(UUID(fields["messageId"]))
        await self._rest.call("POST", "/messages", fields)

    async def _write_receipts(self) -> None:
        """Queue one receipt for each account and conversation, about everything since the last one. Strangers get no delivery receipt; across a block there are none."""
        if not any(self._store.all(kind) for kind in (kinds.DELIVERY_RECEIPTS_DUE, kinds.READ_RECEIPTS_DUE)):
            return
        settings = await self.receipt_policy.load_settings()
        with self._store.transaction():
            self._queue_receipts(kinds.DELIVERY_RECEIPTS_DUE, "delivered", settings)
            self._queue_receipts(kinds.READ_RECEIPTS_DUE, "read", settings)

    def _queue_receipts(self, kind: str, state: str, settings: ReceiptSettings) -> None:
        for packed in self._store.all(kind):
            conversation_id, person, targets = unpack(tuple[UUID, UUID, tuple[UUID, ...]], packed)
            self._store.put(kind, f"{conversation_id}/{person}", None)
            is_allowed = settings.read_receipts
            if kind == kinds.DELIVERY_RECEIPTS_DUE:
                is_allowed = settings.delivery_receipts and self.receipt_policy.allows_delivery_receipt(
                    settings, conversation_id, person
                )
            for some in batched(targets, _TARGETS_PER_RECEIPT) if is_allowed and person not in settings.blocked else ():
                fields: dict[str, Any] = {"state": state, "targets": [str(each) for each in some]}
                content = Content("receipt", new_id(self._now()), self._now(), conversation_id, fields)
                self._queue.add(Outgoing.to_people(content, self._now(), (person,)))

    def _give_up(self, outgoing: Outgoing, reason: str) -> None:
        with self._store.transaction():
            self._queue.delete(outgoing)
            if outgoing.lane == "mail":
                Journal(self._store).add(_not_sent(outgoing, reason))
        self.refused[outgoing.content_id] = reason


def _not_sent(outgoing: Outgoing, reason: str, *, is_kept: bool = False) -> NotSent:
    common: dict[str, Any] = {"conversation_id": outgoing.conversation_id, "id": outgoing.content_id}
    return NotSent(**common, kind=outgoing.kind, reason=reason, is_kept=is_kept or None)
