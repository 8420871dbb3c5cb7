"""Notices for which a mailbox has no room: they wait, of one subject the newest stands for all, and are posted when there is some.

So nobody can have a notice vanish by filling a mailbox, and what waits is bounded by what there is to tell of: kinds, devices, peers, conversations.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID, uuid5

from vyry.kernel.ids import MailboxKey, MessageId
from vyry.mail.store import PostOutcome


#: What is another one in each notice of one subject. Of anything else a notice is about, each waits for itself.
_VARYING_FIELDS: Final = frozenset(
    {
        *("epoch", "version", "attemptsRemaining", "callId", "deviceName", "platform", "endsOn"),
        *("oneTimeRemaining", "pqRemaining"),
    }
)


@dataclass(frozen=True, slots=True)
class DeferredNotice:
    """A notice that one mailbox still has to get."""

    notice_id: MessageId
    mailbox: MailboxKey
    body: Mapping[str, object]

    @property
    def subject(self) -> str:
        """Its kind and what it is about: a later one of the same subject says all that this one does."""
        about = sorted(f"{name}={value}" for name, value in self.body.items() if name not in _VARYING_FIELDS)
        return " ".join(about)


class DeferredNoticeStore(Protocol):
    """Where they wait. Every method raises `Unavailable` when the database is away."""

    async def claim(self, now: datetime, limit: int) -> list[DeferredNotice]:
        """The oldest whose mailboxes may have room. They are due again in a while, should whoever claimed them die."""
        ...

    async def record_outcomes(self, posted: Collection[DeferredNotice], full: Collection[DeferredNotice]) -> None:
        """Forget those that were posted and those for devices that have ended; the others wait until their mailboxes have more room than now."""
        ...


def notice_quota_owner(body: Mapping[str, object]) -> tuple[UUID | None, bool]:
    """In whose name a notice takes room, and whether that is a conversation: what others cause never leaves the account's own news without room."""
    if "conversationId" in body:
        return UUID(str(body["conversationId"])), True
    return (UUID(str(body["userId"])), False) if "userId" in body else (None, False)


def deferred_copies(notice_id: MessageId, body: Mapping[str, object], stored: PostOutcome) -> list[DeferredNotice]:
    """What is left to tell after a post with this outcome, each part under an id of its own that is always the same."""
    return [
        DeferredNotice(MessageId(uuid5(notice_id, f"held {mailbox}")), mailbox, body)
        for mailbox, number in zip(stored.mailboxes, stored.numbers, strict=True)
        if number is None
    ]
