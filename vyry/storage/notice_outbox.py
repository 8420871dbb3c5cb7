"""The notice outbox: notices are written in the transaction that they report, and posted from here by the worker. A crash loses none.

One account may cause many notices with many recipients each. So a newer notice replaces a waiting one of the same kind, and accounts take turns: the worker
posts the first notice of each account, then the second of each (docs/adr/0027-notices-take-turns.md).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.kernel.ids import ConversationId, MailboxKey, MessageId, UserId, new_id
from vyry.mail.deferred_notices import DeferredNotice
from vyry.mail.notices import PendingNotice
from vyry.storage.conversation_models import NoticeRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.deferred_notices import defer_notices
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.relationships import is_blocked


class Audience(Enum):
    """The devices that get a notice."""

    #: All live devices of the account.
    OWN = "own"
    #: All live devices of accounts that share a conversation with it, except a direct one if one blocks the other.
    PEERS = "peers"
    #: All live devices of the members of the conversation that `account_id` names.
    MEMBERS = "members"


_ARE_BLOCKED = is_blocked("$1", "theirs.account_id")
_MAILBOXES = {
    Audience.OWN: "SELECT mailbox FROM device WHERE account_id = $1 AND ended_at IS NULL ORDER BY mailbox",
    Audience.PEERS: f"""
        SELECT mailbox FROM device WHERE ended_at IS NULL AND account_id IN (
            SELECT theirs.account_id FROM member mine JOIN member theirs ON theirs.conversation_id = mine.conversation_id
            JOIN conversation c ON c.id = mine.conversation_id
            WHERE mine.account_id = $1 AND theirs.account_id <> $1 AND (c.kind = 'group' OR NOT {_ARE_BLOCKED}))
        ORDER BY mailbox""",
    Audience.MEMBERS: """
        SELECT mailbox FROM device WHERE ended_at IS NULL AND account_id IN (SELECT account_id FROM member WHERE conversation_id = $1)
        ORDER BY mailbox""",
}
_REPLACED = "DELETE FROM notice WHERE conversation_id = $1"
_OLDER = """
    DELETE FROM notice WHERE account_id = $1 AND audience = $2 AND body->>'name' = $3 AND COALESCE(body->>'conversationId', '') = $4
    RETURNING body->>'identityChanged' AS identity_changed"""
#: Group changes have many recipients and are not about security, so they come last.
_NEXT_IDS = """
    SELECT id FROM (
        SELECT id, at, audience, row_number() OVER (PARTITION BY COALESCE(caused_by, account_id) ORDER BY at, id) AS turn FROM notice) waiting
    ORDER BY audience = 'members', turn, audience <> 'own', at, id LIMIT $1"""


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A notice to write. `body` is the notice object of docs/protocol.md; the mailbox `excluded_mailbox` gets no copy."""

    account_id: UUID
    audience: Audience
    body: Mapping[str, object]
    at: datetime
    excluded_mailbox: MailboxKey | None = None
    #: Whose turn it is posted in, if not that of the account: another account, or the conversation that changed.
    caused_by: UUID | None = None


async def enqueue_notice(
    tx: BaseDBAsyncClient, notice: NewNotice, conversation_id: ConversationId | None = None
) -> None:
    """Write a notice, to be posted after the commit. A notice of a conversation replaces a waiting one of it."""
    _ = await NoticeRow.create(
        tx,
        id=new_id(),
        account_id=notice.account_id,
        audience=notice.audience.value,
        without=notice.excluded_mailbox,
        body=dict(notice.body),
        at=notice.at,
        conversation_id=conversation_id,
        caused_by=notice.caused_by,
    )


async def enqueue_conversation_changed(
    tx: BaseDBAsyncClient, changed: tuple[UUID, int], gone: Collection[UserId], at: datetime
) -> None:
    """Notify the members of the version of a conversation, and those who are `gone`. The conversation must be locked.

    Pending notices for it are replaced under a new id; a node that is posting the old one posts both.
    """
    key, version = changed
    body = {"name": "conversationChanged", "conversationId": str(key), "version": version}
    await fetch(tx, _REPLACED, key)
    await enqueue_notice(tx, NewNotice(key, Audience.MEMBERS, body, at), ConversationId(key))
    for user in gone:
        notice = NewNotice(user, Audience.OWN, body, at, caused_by=key)
        await _delete_older(tx, notice)
        await enqueue_notice(tx, notice)


async def enqueue_devices_changed(
    tx: BaseDBAsyncClient, account_id: UUID, epoch: int, at: datetime, *, identity_changed: bool = False
) -> None:
    """Notify the peers that the device list of this account has changed. The account must be locked.

    Pending notices for it are replaced, as in `enqueue_conversation_changed`; identityChanged stays true if a replaced notice had it.
    """
    body = {"name": "devicesChanged", "userId": str(account_id), "epoch": epoch, "identityChanged": identity_changed}
    notice = NewNotice(account_id, Audience.PEERS, body, at)
    # A JSON true is a text on PostgreSQL and 1 on SQLite.
    if any(was_changed in ("true", 1) for was_changed in await _delete_older(tx, notice)):
        body["identityChanged"] = True
    await enqueue_notice(tx, notice)


async def _delete_older(tx: BaseDBAsyncClient, notice: NewNotice) -> list[object]:
    """Delete waiting notices of the same kind and audience; returns the identityChanged of each."""
    kind = str(notice.body["name"]), str(notice.body.get("conversationId", ""))
    older = await fetch(tx, _OLDER, notice.account_id, notice.audience.value, *kind)
    return [row["identity_changed"] for row in older]


class TortoiseNoticeOutbox:
    """NoticeOutbox on PostgreSQL or SQLite."""

    async def load_pending(self, limit: int, copies: int) -> list[PendingNotice]:
        async with database_guard():
            ids = [to_uuid(row["id"]) for row in await fetch(connection(), _NEXT_IDS, limit)]
            rows = {row.id: row for row in await NoticeRow.filter(id__in=ids)}
            found: list[PendingNotice] = []
            # Another worker may have posted and deleted it meanwhile.
            for row in (rows[each] for each in ids if each in rows):
                found.append(PendingNotice(MessageId(row.id), row.body, await self._mailboxes(row)))
                copies -= len(found[-1].mailboxes)
                if copies <= 0:
                    break
            return found

    async def complete(self, notices: Collection[MessageId], deferred: Collection[DeferredNotice] = ()) -> None:
        async with transaction() as tx:
            await NoticeRow.filter(id__in=list(notices)).using_db(tx).delete()
            if deferred:
                await defer_notices(tx, deferred)

    async def _mailboxes(self, row: NoticeRow) -> list[MailboxKey]:
        found = await fetch(connection(), _MAILBOXES[Audience(row.audience)], row.account_id)
        return [MailboxKey(each["mailbox"]) for each in found if each["mailbox"] != row.without]
