"""Announcements: a notice of the operator for every mailbox, handed over in steps.

A step puts the notice for the next mailboxes among the deferred notices (vyry/mail/deferred_notices.py) and moves the position of the announcement, in one
transaction. Workers post from there, also into a mailbox that is full now, once it has capacity. The id of each notice follows from announcement and mailbox,
so whatever is repeated after a crash posts nothing twice, and no mailbox is left out.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from vyry.accounts.events import OperatorAction
from vyry.kernel.display_text import validate_lines
from vyry.kernel.ids import MailboxKey, MessageId, new_id
from vyry.kernel.sizes import MAX_ANNOUNCEMENT
from vyry.mail.deferred_notices import DeferredNotice
from vyry.operator.audit import record_action
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.deferred_notices import defer_notices
from vyry.storage.raw_sql import fetch, to_datetime, to_optional_datetime, to_uuid


_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_MAX_LANGUAGE: Final = 35
_LIVE: Final = "SELECT count(*) AS total FROM device WHERE ended_at IS NULL"
#: An index refuses a second unfinished one.
_BEGIN: Final = """
    INSERT INTO announcement (id, text, language, created_at, last_mailbox, total)
    SELECT $1, $2, $3, $4, coalesce(max(mailbox), 0), count(*) FROM device WHERE ended_at IS NULL
    ON CONFLICT DO NOTHING RETURNING *"""
_OPEN: Final = "SELECT * FROM announcement WHERE finished_at IS NULL ORDER BY created_at LIMIT 1"
#: It locks the row, so that two commands that continue one announcement take turns.
_LOCK: Final = "UPDATE announcement SET handed_over = handed_over WHERE id = $1 AND finished_at IS NULL RETURNING *"
_NEXT: Final = """
    SELECT mailbox FROM device WHERE ended_at IS NULL AND mailbox > $1 AND mailbox <= $2 ORDER BY mailbox LIMIT $3"""
_ADVANCE: Final = "UPDATE announcement SET through_mailbox = $2, handed_over = handed_over + $3, finished_at = $4 WHERE id = $1 RETURNING *"
_END: Final = "UPDATE announcement SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL RETURNING id"
_DEFERRED: Final = "SELECT count(*) AS notices, count(try_at) AS due FROM held_notice WHERE subject = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An announcement, and how far it is handed over: to `handed_over` of `total` mailboxes."""

    announcement_id: UUID
    text: str
    language: str | None
    created_at: datetime
    last_mailbox: MailboxKey
    through_mailbox: MailboxKey
    total: int
    handed_over: int
    finished_at: datetime | None

    @property
    def body(self) -> dict[str, object]:
        """The notice object of docs/protocol.md."""
        language = {} if self.language is None else {"language": self.language}
        return {
            "name": "announcement",
            "announcementId": str(self.announcement_id),
            "text": self.text,
            **language,
        }

    def notice_for(self, mailbox: MailboxKey) -> DeferredNotice:
        """The notice for one mailbox; the same id each time."""
        return DeferredNotice(MessageId(uuid5(self.announcement_id, f"announce {mailbox}")), mailbox, self.body)


@dataclass(frozen=True, slots=True)
class PendingPosts:
    """The notices of an announcement that are not posted: due at once, and for mailboxes without capacity."""

    due: int
    full: int


def check_text(text: str, language: str | None) -> str:
    """The text as it is announced, cleaned like every display text. Raises ValueError for an empty or a long text, or no tag of a language."""
    cleaned = validate_lines(text, MAX_ANNOUNCEMENT, 1)
    if not cleaned:
        raise ValueError("The text has no visible characters.")
    if language is not None and not (len(language) <= _MAX_LANGUAGE and _LANGUAGE.fullmatch(language)):
        raise ValueError(f"{language!a} is no language tag: give one such as de or pt-BR.")
    return cleaned


async def count_mailboxes() -> int:
    """The mailboxes that an announcement would reach now. Raises Unavailable."""
    async with database_guard():
        (row,) = await fetch(connection(), _LIVE)
    return int(row["total"])


async def find_unfinished() -> Announcement | None:
    """The announcement that is not handed over to all its mailboxes. Raises Unavailable."""
    async with database_guard():
        rows = await fetch(connection(), _OPEN)
    return _announcement(rows[0]) if rows else None


async def begin_announcement(text: str, language: str | None, act: OperatorAction) -> Announcement | None:
    """Store a new announcement and its line in the audit log; None, and nothing is stored, while another one is unfinished. Raises Unavailable."""
    async with transaction() as tx:
        rows = await fetch(tx, _BEGIN, new_id(), text, language, act.at)
        if not rows:
            return None
        await record_action(tx, act)
    return _announcement(rows[0])


async def hand_over(announcement_id: UUID, limit: int, now: datetime) -> Announcement | None:
    """Hand the announcement over to the next `limit` mailboxes; returns it after that, None if it is finished already. Raises Unavailable."""
    async with transaction() as tx:
        rows = await fetch(tx, _LOCK, announcement_id)
        if not rows:
            return None
        current = _announcement(rows[0])
        found = await fetch(tx, _NEXT, current.through_mailbox, current.last_mailbox, limit)
        boxes = [MailboxKey(row["mailbox"]) for row in found]
        if boxes:
            await defer_notices(tx, [current.notice_for(mailbox) for mailbox in boxes])
        is_last = len(boxes) < limit or boxes[-1] == current.last_mailbox
        through = current.last_mailbox if is_last else boxes[-1]
        (row,) = await fetch(tx, _ADVANCE, announcement_id, through, len(boxes), now if is_last else None)
        return _announcement(row)


async def end_announcement(announcement_id: UUID, act: OperatorAction) -> bool:
    """Hand the announcement over to no further mailbox; returns False if it is finished already. Raises Unavailable."""
    async with transaction() as tx:
        if not await fetch(tx, _END, announcement_id, act.at):
            return False
        await record_action(tx, act)
    return True


async def count_pending(announcement: Announcement) -> PendingPosts:
    """The notices that workers have not posted yet. Raises Unavailable."""
    subject = announcement.notice_for(MailboxKey(0)).subject
    async with database_guard():
        (row,) = await fetch(connection(), _DEFERRED, subject)
    return PendingPosts(row["due"], row["notices"] - row["due"])


def _announcement(row: dict[str, Any]) -> Announcement:
    return Announcement(
        announcement_id=to_uuid(row["id"]),
        text=row["text"],
        language=row["language"],
        created_at=to_datetime(row["created_at"]),
        last_mailbox=MailboxKey(row["last_mailbox"]),
        through_mailbox=MailboxKey(row["through_mailbox"]),
        total=row["total"],
        handed_over=row["handed_over"],
        finished_at=to_optional_datetime(row["finished_at"]),
    )
