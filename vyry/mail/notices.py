"""Notices: what the node itself has to say to a device, numbered and chained in its mailbox like all mail."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import uuid5

import orjson

from vyry.clock import Clock, milliseconds
from vyry.devices.keyset import Through
from vyry.errors import Unavailable
from vyry.ids import MailboxKey, MessageId, new_id
from vyry.mail.envelope import NOBODY, Envelope, Lane
from vyry.mail.held import HeldNotice, HeldNotices, named, without_room
from vyry.mail.routing import Router
from vyry.mail.store import OUTCOME_DAYS, Content, Copy, Guards, MailStore, Message, Stored
from vyry.telemetry import log


#: Senders have mailboxes from 1 on; this one stands for the node.
NODE = MailboxKey(0)


#: A post has at most so many copies, a notice too.
COPIES: Final = 1_000
#: Notices that one pass takes up, and after how many copies it ends: a pass is short, so that what comes meanwhile has its turn soon.
_BATCH: Final = 100
_COPIES_A_PASS: Final = 10 * COPIES


@dataclass(frozen=True, slots=True)
class WaitingNotice:
    """A notice that was committed with what it tells of, and the mailboxes it goes to, in rising order."""

    notice_id: MessageId
    body: Mapping[str, object]
    mailboxes: Sequence[MailboxKey]


class NoticeOutbox(Protocol):
    """Where notices wait. Both methods raise `Unavailable` when the database is away."""

    async def waiting(self, limit: int, copies: int) -> list[WaitingNotice]:
        """The oldest that each account caused, then the second of each, and so on; changes of groups after all others.

        At most `limit` of them, and none after those that have so many copies together.
        """
        ...

    async def done(self, notices: Collection[MessageId], left: Collection[HeldNotice] = ()) -> None:
        """Forget these: they are in the mailboxes, but for what is `left`, which waits with the held ones from now on."""
        ...


class Notices:
    """Posts notices: those that wait in the outbox at least once, as repeats of themselves; the hints about prekeys at most once."""

    def __init__(self, store: MailStore, router: Router, clock: Clock, outbox: NoticeOutbox, held: HeldNotices) -> None:
        self._store = store
        self._router = router
        self._clock = clock
        self._outbox = outbox
        self._held = held

    async def deliver(self) -> int:
        """Post what waits, as much as one pass may; answers how many notices that were. Raises Unavailable: then they wait on."""
        waiting = await self._outbox.waiting(_BATCH, _COPIES_A_PASS)
        await self._retry()
        left: list[HeldNotice] = []
        for notice in waiting:
            for place in range(0, len(notice.mailboxes), COPIES):
                message_id = notice.notice_id if not place else MessageId(uuid5(notice.notice_id, str(place)))
                (stored,) = await self._post(
                    [self._message(message_id, notice.mailboxes[place : place + COPIES], notice.body)]
                )
                left += without_room(notice.notice_id, notice.body, stored)
        if waiting:
            await self._outbox.done([notice.notice_id for notice in waiting], left)
        return len(waiting)

    async def _retry(self) -> None:
        """Post what has waited for room, before anything newer."""
        waiting = await self._held.claim(self._clock.now(), _BATCH)
        if not waiting:
            return
        stored = await self._post([self._message(each.notice_id, [each.mailbox], each.body) for each in waiting])
        outcomes = list(zip(waiting, stored, strict=True))
        await self._held.settle(
            [each for each, outcome in outcomes if any(outcome.numbers)],
            [each for each, outcome in outcomes if not any(outcome.numbers)],
        )

    async def prekeys_low(self, remaining: Mapping[MailboxKey, Through]) -> None:
        """Tell these devices how many one-time keys they have left. A hint that cannot be posted while the database is away is lost: they can also ask."""
        hints = [
            HeldNotice(
                MessageId(new_id()),
                box,
                {"name": "prekeysLow", "oneTimeRemaining": left.one_time, "pqRemaining": left.pq},
            )
            for box, left in remaining.items()
        ]
        try:
            stored = await self._post([self._message(each.notice_id, [each.mailbox], each.body) for each in hints])
            if full := [each for each, outcome in zip(hints, stored, strict=True) if not any(outcome.numbers)]:
                await self._outbox.done([], full)
        except Unavailable:
            log.warning("post", outcome="notices lost", count=len(hints))

    async def _post(self, messages: Sequence[Message]) -> list[Stored]:
        stored = await self._store.post(messages, Guards())
        assert isinstance(stored, list)
        self._router.route(
            (mailbox, number, message.contents[0].packed)
            for message, outcome in zip(messages, stored, strict=True)
            if not outcome.is_repeat
            for mailbox, number in zip(outcome.mailboxes, outcome.numbers, strict=True)
            if number is not None
        )
        return stored

    def _message(self, message_id: MessageId, mailboxes: Sequence[MailboxKey], notice: Mapping[str, object]) -> Message:
        now = self._clock.now()
        expires_at = now + timedelta(days=OUTCOME_DAYS)
        # Names and whole numbers only: sorted and without spaces this is RFC 8785.
        content = orjson.dumps(notice, option=orjson.OPT_SORT_KEYS)
        life = milliseconds(now), milliseconds(expires_at)
        envelope = Envelope(NOBODY, 0, message_id, NOBODY, *life, Lane.CONTROL, 0, content)
        contents = [Content(envelope.pack(), envelope.digest(), len(content), len(mailboxes))]
        copies = [Copy(mailbox, 0) for mailbox in mailboxes]
        account, is_near = named(notice)
        facts = bytes(32), now, expires_at, Lane.NOTICE, contents, copies
        return Message(NODE, message_id, *facts, is_urgent=False, account=account, is_near=is_near)
