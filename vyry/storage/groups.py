"""Groups, and the invitations of an admin.

Theory: a change locks the row of the conversation, reads it, applies a function of the domain, and writes the difference, the next version and the notices,
all in one transaction. So changes of a conversation run one after the other on all nodes. A post checks the version in its statement but takes no lock, so a
running post may have read the old version: `wait_for_posts` waits until these have ended before the change is confirmed. SQLite has one writer, so there is
nothing to wait for.
"""

import asyncio
import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.conversations.conversations import Conversation, ConversationKind, Role
from vyry.conversations.groups import MAX_GROUPS, ConversationChange, MemberCandidate, check_admin
from vyry.conversations.invitations import MAX_PENDING, MAX_PER_INVITER
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId, new_id
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.notice_outbox import Audience, NewNotice, enqueue_conversation_changed, enqueue_notice
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.relationships import A_IS_BLOCKED, A_SHARES_CONVERSATION


_CREATE: Final = """
    INSERT INTO conversation (id, kind, sealed_info, version, created_at, last_activity_at) VALUES ($1, 'group', $2, 1, $3, $3)"""
_LOCK: Final = "UPDATE conversation SET version = version WHERE id = $1 RETURNING id"
_WRITE: Final = """
    UPDATE conversation SET version = $2, sealed_info = $3, message_timer_seconds = $4 WHERE id = $1"""
_JOIN: Final = """
    INSERT INTO member (conversation_id, account_id, role, joined_at)
    SELECT $1, id, 'member', $3 FROM account WHERE id = ANY($2) AND deleted_at IS NULL RETURNING account_id"""
_ASSIGN: Final = "UPDATE member SET role = $3 WHERE conversation_id = $1 AND account_id = ANY($2)"
_LEAVE: Final = "DELETE FROM member WHERE conversation_id = $1 AND account_id = ANY($2)"
#: Delete the invite links and invitations of members who are no longer admins.
_REVOKE: Final = (
    "DELETE FROM invite WHERE conversation_id = $1 AND account_id = ANY($2)",
    "DELETE FROM group_invitation WHERE conversation_id = $1 AND account_id = ANY($2)",
)
#: Delete the open invitations of users who have joined.
_DELETE_INVITATIONS: Final = "DELETE FROM group_invitation WHERE conversation_id = $1 AND to_id = ANY($2)"
_CLOSE: Final = (
    "DELETE FROM invite WHERE conversation_id = $1",
    "DELETE FROM group_invitation WHERE conversation_id = $1",
    "DELETE FROM notice WHERE conversation_id = $1",
    "DELETE FROM conversation WHERE id = $1",
)
#: Groups with an admin whom the member blocks do not count, up to the same number again: so others cannot use up the limit.
_OVER_GROUP_LIMIT: Final = """
    SELECT m.account_id FROM member m JOIN conversation c ON c.id = m.conversation_id AND c.kind = 'group'
    WHERE m.account_id = ANY($1) GROUP BY m.account_id HAVING count(*) > $2 AND (count(*) > 2 * $2 OR $2 < (
        SELECT count(*) FROM member n JOIN conversation g ON g.id = n.conversation_id AND g.kind = 'group'
        WHERE n.account_id = m.account_id AND NOT EXISTS (
            SELECT 1 FROM member lead JOIN block b ON b.account_id = n.account_id AND b.blocked_id = lead.account_id
            WHERE lead.conversation_id = n.conversation_id AND lead.role = 'admin'))) LIMIT 1"""
_CONTACTS: Final = f"""
    SELECT a.id, a.settings,
        EXISTS (SELECT 1 FROM friend f WHERE f.account_id = $1 AND f.friend_id = a.id) AS is_friend,
        {A_SHARES_CONVERSATION} AS shares_conversation,
        EXISTS (SELECT 1 FROM member their JOIN conversation d ON d.id = their.conversation_id AND d.kind = 'direct'
            JOIN member mine ON mine.conversation_id = d.id AND mine.account_id = $1
            WHERE their.account_id = a.id AND their.has_written) AS has_written
    FROM account a WHERE a.id = ANY($2) AND a.deleted_at IS NULL AND NOT {A_IS_BLOCKED}"""
#: The running posts of all nodes: a transaction has a lock on its own virtual id until after its commit.
_RUNNING_POSTS: Final = """
    SELECT l.virtualtransaction AS post FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'virtualxid'
    WHERE a.datname = current_database() AND a.application_name = 'vyry-post'"""
_POLL_SECONDS: Final = 0.002


class TortoiseGroups:
    """GroupStore on PostgreSQL or SQLite."""

    async def load(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        return await TortoiseConversations().load(ids)

    async def create(
        self,
        creator: UserId,
        others: Collection[UserId],
        invited: Collection[UserId],
        sealed_info: bytes | None,
        now: datetime,
    ) -> Conversation:
        key = ConversationId(new_id())
        async with transaction() as tx:
            await fetch(tx, _CREATE, key, sealed_info, now)
            await _add_members(tx, key, {creator, *others}, now)
            await fetch(tx, _ASSIGN, key, [creator], Role.ADMIN.value)
            made = await _load(tx, key)
            if others:
                await enqueue_conversation_changed(tx, (key, made.version), (), now)
            await add_invitations(tx, made, creator, invited, now)
        return made

    async def invite(
        self, admin: UserId, conversation_id: ConversationId, users: Collection[UserId], now: datetime
    ) -> None:
        async with transaction() as tx:
            present = await lock_conversation(tx, conversation_id)
            check_admin(present, admin)
            await add_invitations(tx, present, admin, users, now)

    async def change(self, conversation_id: ConversationId, change: ConversationChange, now: datetime) -> Conversation:
        async with transaction() as tx:
            before = await lock_conversation(tx, conversation_id)
            after = await apply_change(tx, before, change(before), now)
        if after.version != before.version:
            await wait_for_posts()
        return after

    async def load_candidates(self, adder: UserId, users: Collection[UserId]) -> dict[UserId, MemberCandidate]:
        async with database_guard():
            found = await fetch(connection(), _CONTACTS, adder, list(users))
        return {UserId(to_uuid(row["id"])): _contact(row) for row in found}


async def lock_conversation(tx: BaseDBAsyncClient, conversation_id: ConversationId) -> Conversation:
    """Lock the conversation until the end of the transaction, and load it. Raises NotFound."""
    if not await fetch(tx, _LOCK, conversation_id):
        raise NotFound
    return await _load(tx, conversation_id)


async def apply_change(
    tx: BaseDBAsyncClient, before: Conversation, wanted: Conversation, now: datetime
) -> Conversation:
    """Write the wanted state of a locked conversation under the next version, with notices to its members. Raises NotFound, Forbidden: see GroupStore.change."""
    if wanted == before:
        return before
    key, after = before.conversation_id, replace(wanted, version=before.version + 1)
    gone = sorted(before.members.keys() - after.members.keys())
    if gone:
        await fetch(tx, _LEAVE, key, gone)
    await enqueue_conversation_changed(tx, (key, after.version), gone, now)
    if not after.members:
        for statement in _CLOSE:
            await fetch(tx, statement, key)
        return after
    await fetch(tx, _WRITE, key, after.version, after.sealed_info, after.message_timer_seconds)
    await _add_members(tx, key, after.members.keys() - before.members.keys(), now)
    for role in Role:
        moved = [user for user, held in before.members.items() if _has_new_role(held.role, after, user, role)]
        if moved:
            await fetch(tx, _ASSIGN, key, moved, role.value)
    await _revoke_invites(tx, before, after)
    return after


async def wait_for_posts() -> None:
    """Wait until every post that was running when this was called has ended, on all nodes."""
    if connection().capabilities.dialect == "sqlite":
        return
    async with database_guard():
        waited_for = await _running_posts()
        while waited_for:
            await asyncio.sleep(_POLL_SECONDS)
            waited_for &= await _running_posts()


async def _running_posts() -> set[str]:
    return {row["post"] for row in await fetch(connection(), _RUNNING_POSTS)}


def _has_new_role(held: Role, after: Conversation, user: UserId, role: Role) -> bool:
    member = after.members.get(user)
    return member is not None and member.role is role and held is not role


async def _load(tx: BaseDBAsyncClient, key: ConversationId) -> Conversation:
    return (await TortoiseConversations().load([key], tx))[key]


async def _add_members(tx: BaseDBAsyncClient, key: ConversationId, users: Collection[UserId], now: datetime) -> None:
    if not users:
        return
    if len(await fetch(tx, _JOIN, key, sorted(users), now)) < len(users):
        raise NotFound
    await fetch(tx, _DELETE_INVITATIONS, key, sorted(users))
    if await fetch(tx, _OVER_GROUP_LIMIT, sorted(users), MAX_GROUPS):
        raise Forbidden("One of the users has reached the limit of groups.")


async def _revoke_invites(tx: BaseDBAsyncClient, before: Conversation, after: Conversation) -> None:
    was, now_is = admins(before), admins(after)
    if before.kind is ConversationKind.GROUP and was - now_is:
        for statement in _REVOKE:
            await fetch(tx, statement, before.conversation_id, sorted(was - now_is))


def admins(conversation: Conversation) -> set[UserId]:
    """The admins, who may change it."""
    return {user for user, member in conversation.members.items() if member.role is Role.ADMIN}


def _contact(row: dict[str, Any]) -> MemberCandidate:
    settings = row["settings"]
    chosen = json.loads(settings) if isinstance(settings, str) else settings
    is_friend = bool(row["is_friend"])
    is_open = is_friend or chosen.get("messagesFrom") != "friends"
    return MemberCandidate(
        is_open, is_friend or bool(row["shares_conversation"]), is_friend or bool(row["has_written"])
    )


_WAITING: Final = "SELECT count(*) AS waiting FROM group_invitation WHERE to_id = $1"
_INVITE: Final = """
    INSERT INTO group_invitation (conversation_id, account_id, to_id, at)
    SELECT $1, $2, id, $4 FROM account WHERE id = $3 AND deleted_at IS NULL ON CONFLICT (conversation_id, to_id) DO NOTHING RETURNING to_id"""
#: Delete the oldest invitations beyond the limits of one inviter and of all.
_TRIM_ONE: Final = """
    DELETE FROM group_invitation WHERE id IN (
        SELECT id FROM group_invitation WHERE to_id = $1 AND account_id = $2 ORDER BY id DESC LIMIT 1000 OFFSET $3)"""
_TRIM_ALL: Final = """
    DELETE FROM group_invitation WHERE id IN (
        SELECT id FROM group_invitation WHERE to_id = $1 ORDER BY id DESC LIMIT 1000 OFFSET $2)"""


async def add_invitations(
    tx: BaseDBAsyncClient, group: Conversation, inviter: UserId, users: Collection[UserId], now: datetime
) -> None:
    """Invite these users except members. A user with waiting invitations gets no notice of another one."""
    for user in sorted(set(users) - group.members.keys()):
        waiting = (await fetch(tx, _WAITING, user))[0]["waiting"]
        if not await fetch(tx, _INVITE, group.conversation_id, inviter, user, now):
            continue
        await fetch(tx, _TRIM_ONE, user, inviter, MAX_PER_INVITER)
        await fetch(tx, _TRIM_ALL, user, MAX_PENDING)
        if not waiting:
            # Queued for the inviter (docs/adr/0027-notices-take-turns.md): inviting a thousand users delays only the inviter's own notices.
            await enqueue_notice(tx, NewNotice(user, Audience.OWN, {"name": "groupInvited"}, now, caused_by=inviter))
