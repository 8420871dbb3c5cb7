"""Notices: envelopes that the node itself posts, deposited and chained like all mail."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import uuid5

import orjson

from vyry.clock import Clock
from vyry.devices.keyset import HighestIds
from vyry.errors import Unavailable
from vyry.kernel.batches import batched
from vyry.kernel.ids import MailboxKey, MessageId, new_id
from vyry.kernel.sizes import MAX_COPIES
from vyry.kernel.time import to_milliseconds
from vyry.mail.deferred_notices import DeferredNotice, DeferredNoticeStore, deferred_copies, notice_quota_owner
from vyry.mail.envelope import NIL_ID, Envelope, Lane
from vyry.mail.routing import Router
from vyry.mail.store import OUTCOME_DAYS, Content, Copy, MailStore, Message, PostOutcome, Preconditions
from vyry.telemetry import log


#: The sender of notices: mailboxes of devices count from 1.
NODE_MAILBOX = MailboxKey(0)
#: The most notices and copies of one run: runs are short, and the next one follows soon.
_BATCH: Final = 100
_MAX_COPIES_PER_PASS: Final = 10 * MAX_COPIES


@dataclass(frozen=True, slots=True)
class PendingNotice:
    """A notice that was committed with its cause, and its mailboxes in rising order."""

    notice_id: MessageId
    body: Mapping[str, object]
    mailboxes: Sequence[MailboxKey]


class NoticeOutbox(Protocol):
    """The table of notices that are committed and not posted yet. Both methods raise `Unavailable` while the database is down."""

    async def load_pending(self, limit: int, copies: int) -> list[PendingNotice]:
        """The oldest notice that each account caused, then the second of each, and so on; changes of groups after all others.

        At most `limit` notices, and none after those that have `copies` copies together.
        """
        ...

    async def complete(self, notices: Collection[MessageId], deferred: Collection[DeferredNotice] = ()) -> None:
        """Delete these: they are in the mailboxes, except `deferred`, which are stored as deferred notices."""
        ...


class NoticePoster:
    """Posts the notices of the outbox at least once (a repeat changes nothing), and hints about prekeys at most once."""

    def __init__(
        self, store: MailStore, *, router: Router, clock: Clock, outbox: NoticeOutbox, deferred: DeferredNoticeStore
    ) -> None:
        self._store = store
        self._router = router
        self._clock = clock
        self._outbox = outbox
        self._deferred = deferred

    async def post_pending(self) -> int:
        """Post notices of the outbox, as many as one run may; returns how many. Raises Unavailable: then they stay in the outbox."""
        pending = await self._outbox.load_pending(_BATCH, _MAX_COPIES_PER_PASS)
        await self._post_deferred()
        left: list[DeferredNotice] = []
        for notice in pending:
            for number, mailboxes in enumerate(batched(notice.mailboxes, MAX_COPIES)):
                message_id = (
                    MessageId(uuid5(notice.notice_id, str(number * MAX_COPIES))) if number else notice.notice_id
                )
                (stored,) = await self._post([self._message(message_id, mailboxes, notice.body)])
                left += deferred_copies(notice.notice_id, notice.body, stored)
        if pending:
            await self._outbox.complete([notice.notice_id for notice in pending], left)
        return len(pending)

    async def _post_deferred(self) -> None:
        """Post deferred notices before newer ones."""
        pending = await self._deferred.claim(self._clock.now(), _BATCH)
        if not pending:
            return
        stored = await self._post([self._message(each.notice_id, [each.mailbox], each.body) for each in pending])
        outcomes = list(zip(pending, stored, strict=True))
        await self._deferred.record_outcomes(
            [each for each, outcome in outcomes if any(outcome.numbers)],
            [each for each, outcome in outcomes if not any(outcome.numbers)],
        )

    async def prekeys_low(self, remaining: Mapping[MailboxKey, HighestIds]) -> None:
        """Post the number of one-time keys that these devices have left. The hint is lost while the database is down; devices can also request the number."""
        hints = [
            DeferredNotice(
                MessageId(new_id()),
                box,
                {"name": "prekeysLow", "oneTimeRemaining": left.one_time, "pqRemaining": left.pq},
            )
            for box, left in remaining.items()
        ]
        try:
            stored = await self._post([self._message(each.notice_id, [each.mailbox], each.body) for each in hints])
            if full := [each for each, outcome in zip(hints, stored, strict=True) if not any(outcome.numbers)]:
                await self._outbox.complete([], full)
        except Unavailable:
            log.warning("prekey_hints_lost", count=len(hints))

    async def _post(self, messages: Sequence[Message]) -> list[PostOutcome]:
        began = time.perf_counter()
        stored = await self._store.post(messages, Preconditions(), self._router.readers)
        assert isinstance(stored, list)
        added = [each for each in zip(messages, stored, strict=True) if not each[1].is_repeat]
        self._router.pass_on(added, began)
        return stored

    def _message(self, message_id: MessageId, mailboxes: Sequence[MailboxKey], notice: Mapping[str, object]) -> Message:
        now = self._clock.now()
        expires_at = now + timedelta(days=OUTCOME_DAYS)
        # Names and whole numbers only: sorted and without spaces this is RFC 8785.
        content = orjson.dumps(notice, option=orjson.OPT_SORT_KEYS)
        life = to_milliseconds(now), to_milliseconds(expires_at)
        envelope = Envelope(NIL_ID, 0, message_id, NIL_ID, *life, Lane.CONTROL, 0, content)
        contents = [Content(envelope.pack(), envelope.digest(), len(content), len(mailboxes))]
        copies = [Copy(mailbox, 0) for mailbox in mailboxes]
        account, is_conversation = notice_quota_owner(notice)
        facts = bytes(32), now, expires_at, Lane.NOTICE, contents, copies
        return Message(
            NODE_MAILBOX, message_id, *facts, is_urgent=False, quota_owner=account, is_from_acquaintance=is_conversation
        )
