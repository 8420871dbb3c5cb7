"""Notices: what the node itself has to say to a device, numbered and chained in its mailbox like all mail."""

from collections.abc import Mapping
from datetime import timedelta

import orjson

from vyry.clock import Clock, milliseconds
from vyry.devices.keyset import Through
from vyry.errors import Unavailable
from vyry.ids import MailboxKey, MessageId, new_id
from vyry.mail.envelope import NOBODY, Envelope, Lane
from vyry.mail.routing import Router
from vyry.mail.store import OUTCOME_DAYS, Content, Copy, Guards, MailStore, Message
from vyry.telemetry import log


#: Senders have mailboxes from 1 on; this one stands for the node.
NODE = MailboxKey(0)


class Notices:
    """Posts notices. One that cannot be posted now is lost: each tells of something that can also be asked for."""

    def __init__(self, store: MailStore, router: Router, clock: Clock) -> None:
        self._store = store
        self._router = router
        self._clock = clock

    async def prekeys_low(self, remaining: Mapping[MailboxKey, Through]) -> None:
        """Tell these devices how many one-time keys they have left."""
        await self._post(
            {
                box: {"name": "prekeysLow", "oneTimeRemaining": left.one_time, "pqRemaining": left.pq}
                for box, left in remaining.items()
            }
        )

    async def _post(self, notices: Mapping[MailboxKey, Mapping[str, object]]) -> None:
        messages = [self._message(box, notice) for box, notice in notices.items()]
        try:
            stored = await self._store.post(messages, Guards())
        except Unavailable:
            log.warning("post", outcome="notices lost", count=len(messages))
            return
        assert isinstance(stored, list)
        self._router.route(
            (message.copies[0].mailbox, outcome.numbers[0], message.contents[0].packed)
            for message, outcome in zip(messages, stored, strict=True)
            if outcome.numbers[0] is not None
        )

    def _message(self, mailbox: MailboxKey, notice: Mapping[str, object]) -> Message:
        now = self._clock.now()
        expires_at = now + timedelta(days=OUTCOME_DAYS)
        # Names and whole numbers only: sorted and without spaces this is RFC 8785.
        content = orjson.dumps(notice, option=orjson.OPT_SORT_KEYS)
        message_id = MessageId(new_id())
        life = milliseconds(now), milliseconds(expires_at)
        envelope = Envelope(NOBODY, 0, message_id, NOBODY, *life, Lane.CONTROL, 0, content)
        contents = [Content(envelope.pack(), envelope.digest(), len(content), 1)]
        return Message(NODE, message_id, bytes(32), now, expires_at, Lane.CONTROL, contents, [Copy(mailbox, 0)])
