"""Friends and friend requests. Concurrent changes between two accounts: see vyry/storage/relationships.py."""

from datetime import datetime
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.contacts.friends import (
    MAX_FRIENDS,
    MAX_REQUESTS,
    Friend,
    FriendPage,
    FriendRequest,
    RequestDirection,
    RequestPage,
)
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import UserId
from vyry.storage.conversation_models import FriendRequestRow, FriendRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.discovery import person_from_row
from vyry.storage.locks import lock_accounts
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid
from vyry.storage.relationships import IS_BLOCKED, in_either_direction, pair_key


_ARE_FRIENDS: Final = "EXISTS (SELECT 1 FROM friend WHERE account_id = $1 AND friend_id = $2)"
_HAS_CONTACT: Final = f"""
    SELECT {_ARE_FRIENDS} OR EXISTS (SELECT 1 FROM conversation WHERE pair = $3)
        OR EXISTS (SELECT 1 FROM friend_request WHERE (account_id = $1 AND to_id = $2) OR (account_id = $2 AND to_id = $1)) AS has_contact
    FROM account WHERE id = $2 AND deleted_at IS NULL AND NOT {IS_BLOCKED}"""
_RELATION: Final = f"SELECT {IS_BLOCKED} AS is_barred, {_ARE_FRIENDS} AS are_friends"
_REQUEST: Final = "INSERT INTO friend_request (account_id, to_id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_REQUESTS_WAITING: Final = """
    SELECT (SELECT count(*) FROM friend_request WHERE account_id = $1 AND to_id <> $2) AS of_asker,
        (SELECT count(*) FROM friend_request WHERE to_id = $2 AND account_id <> $1) AS to_other"""
#: Requests of accounts with a direct conversation are deleted last.
_DROP_OLDEST: Final = """
    DELETE FROM friend_request WHERE to_id = $1 AND account_id = (
        SELECT r.account_id FROM friend_request r WHERE r.to_id = $1 AND r.account_id <> $2
        ORDER BY EXISTS (
            SELECT 1 FROM conversation c
            JOIN member a ON a.conversation_id = c.id AND a.account_id = r.account_id
            JOIN member b ON b.conversation_id = c.id AND b.account_id = $1
            WHERE c.pair IS NOT NULL
        ), r.at, r.account_id LIMIT 1)"""
_FRIENDS_HAD: Final = "SELECT count(*) AS had FROM friend WHERE account_id = ANY($1) GROUP BY account_id"
_FRIENDS: Final = """
    SELECT a.id, a.username, a.display_name, a.picture_attachment_id, f.since FROM friend f JOIN account a ON a.id = f.friend_id
    WHERE f.account_id = $1 AND f.friend_id > $2 ORDER BY f.friend_id LIMIT $3"""
_INCOMING: Final = """
    SELECT a.id, a.username, a.display_name, a.picture_attachment_id, r.at FROM friend_request r JOIN account a ON a.id = r.account_id
    WHERE r.to_id = $1 AND r.account_id > $2 ORDER BY r.account_id LIMIT $3"""
_OUTGOING: Final = """
    SELECT to_id AS id, at FROM friend_request WHERE account_id = $1 AND to_id > $2 ORDER BY to_id LIMIT $3"""
_BEFORE_ALL: Final = UUID(int=0)


class TortoiseFriends:
    """FriendStore on PostgreSQL or SQLite."""

    async def is_new_contact(self, asker: UserId, other: UserId) -> bool:
        async with database_guard():
            found = await fetch(connection(), _HAS_CONTACT, asker, other, pair_key(asker, other))
        if not found:
            raise NotFound
        return not found[0]["has_contact"]

    async def send_request(self, asker: UserId, other: UserId, now: datetime) -> bool:
        async with transaction() as tx:
            if await _lock_and_check_friends(tx, asker, other):
                return True
            if await _delete_request(tx, other, asker):
                await _add_friendship(tx, asker, other, now)
                return True
            waiting = (await fetch(tx, _REQUESTS_WAITING, asker, other))[0]
            if waiting["of_asker"] >= MAX_REQUESTS:
                raise Forbidden("You have too many pending friend requests.")
            if waiting["to_other"] >= MAX_REQUESTS:
                await fetch(tx, _DROP_OLDEST, other, asker)
            await fetch(tx, _REQUEST, asker, other, now)
            return False

    async def accept(self, user: UserId, asker: UserId, now: datetime) -> None:
        async with transaction() as tx:
            if await _lock_and_check_friends(tx, user, asker):
                return
            if not await _delete_request(tx, asker, user):
                raise NotFound
            await _add_friendship(tx, user, asker, now)

    async def delete_request(self, asker: UserId, other: UserId) -> None:
        async with database_guard():
            if not await _delete_request(connection(), asker, other):
                raise NotFound

    async def remove(self, user: UserId, friend: UserId) -> None:
        async with transaction() as tx:
            await lock_accounts(tx, user, friend)
            if not await FriendRow.filter(in_either_direction(user, friend, "friend_id")).using_db(tx).delete():
                raise NotFound

    async def list_friends(self, user: UserId, limit: int, after: UserId | None) -> FriendPage:
        async with database_guard():
            rows = await fetch(connection(), _FRIENDS, user, after or _BEFORE_ALL, limit + 1)
        page = [Friend(person_from_row(row), to_datetime(row["since"])) for row in rows[:limit]]
        return FriendPage(page, page[-1].person.user_id if len(rows) > limit else None)

    async def list_requests(
        self, user: UserId, direction: RequestDirection, limit: int, after: UserId | None
    ) -> RequestPage:
        sql = _INCOMING if direction is RequestDirection.INCOMING else _OUTGOING
        async with database_guard():
            rows = await fetch(connection(), sql, user, after or _BEFORE_ALL, limit + 1)
        page = [
            FriendRequest(
                UserId(to_uuid(row["id"])), person_from_row(row) if "username" in row else None, to_datetime(row["at"])
            )
            for row in rows[:limit]
        ]
        return RequestPage(page, page[-1].user_id if len(rows) > limit else None)


async def _lock_and_check_friends(tx: BaseDBAsyncClient, user: UserId, other: UserId) -> bool:
    """Lock both accounts; returns whether they are friends. Raises NotFound if one is hidden from the other."""
    if other not in await lock_accounts(tx, user, other):
        raise NotFound
    between = (await fetch(tx, _RELATION, user, other))[0]
    if between["is_barred"]:
        raise NotFound
    return bool(between["are_friends"])


async def _add_friendship(tx: BaseDBAsyncClient, one: UserId, other: UserId, now: datetime) -> None:
    if any(row["had"] >= MAX_FRIENDS for row in await fetch(tx, _FRIENDS_HAD, [one, other])):
        raise Forbidden("One of the two accounts has reached its limit of friends.")
    sides = [
        FriendRow(account_id=one, friend_id=other, since=now),
        FriendRow(account_id=other, friend_id=one, since=now),
    ]
    await FriendRow.bulk_create(sides, using_db=tx)
    await _delete_request(tx, one, other)


async def _delete_request(tx: BaseDBAsyncClient, asker: UserId, other: UserId) -> bool:
    return bool(await FriendRequestRow.filter(account_id=asker, to_id=other).using_db(tx).delete())
