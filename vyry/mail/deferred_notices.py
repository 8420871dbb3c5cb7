"""Deferred notices: the mailbox was full, and they are posted when it has capacity. Of one subject only the newest is kept.

So filling a mailbox suppresses no notice, and the number of deferred notices is bounded by their subjects: kinds, devices, peers, conversations.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID, uuid5

from vyry.kernel.ids import MailboxKey, MessageId
from vyry.mail.store import PostOutcome


#: The fields that differ between notices of one subject.
_VARYING_FIELDS: Final = frozenset(
    {
        *("epoch", "version", "attemptsRemaining", "callId", "deviceName", "platform", "endsOn"),
        *("oneTimeRemaining", "pqRemaining", "text", "language"),
    }
)


@dataclass(frozen=True, slots=True)
class DeferredNotice:
    """A notice for one mailbox that was full."""

    notice_id: MessageId
    mailbox: MailboxKey
    body: Mapping[str, object]

    @property
    def subject(self) -> str:
        """Its kind and what it is about: a later notice of the same subject replaces this one."""
        about = sorted(f"{name}={value}" for name, value in self.body.items() if name not in _VARYING_FIELDS)
        return " ".join(about)


class DeferredNoticeStore(Protocol):
    """The table of deferred notices. Every method raises `Unavailable` while the database is down."""

    async def claim(self, now: datetime, limit: int) -> list[DeferredNotice]:
        """The oldest notices whose mailboxes may have capacity. They are due again after a while, in case this process dies."""
        ...

    async def record_outcomes(self, posted: Collection[DeferredNotice], full: Collection[DeferredNotice]) -> None:
        """Delete those that were posted and those for devices that have ended; the others wait until their mailboxes have more capacity."""
        ...


def notice_quota_owner(body: Mapping[str, object]) -> tuple[UUID | None, bool]:
    """The quota owner of a notice, and whether that is a conversation: notices that others cause never use the capacity of the account's own."""
    if "conversationId" in body:
        return UUID(str(body["conversationId"])), True
    return (UUID(str(body["userId"])), False) if "userId" in body else (None, False)


def deferred_copies(notice_id: MessageId, body: Mapping[str, object], stored: PostOutcome) -> list[DeferredNotice]:
    """The copies without capacity after a post with this outcome, each with an id derived from notice and mailbox."""
    return [
        DeferredNotice(MessageId(uuid5(notice_id, f"held {mailbox}")), mailbox, body)
        for mailbox, number in zip(stored.mailboxes, stored.numbers, strict=True)
        if number is None
    ]
