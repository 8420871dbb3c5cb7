"""Friends and requests in PostgreSQL or SQLite; see vyry/adapters/ties.py for what keeps two at once apart."""

from datetime import datetime
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.adapters.database import available, connection, transaction
from vyry.adapters.people import person_of
from vyry.adapters.statements import fetch, to_moment, to_uuid
from vyry.adapters.ties import BARRED, lock_people, pair_of
from vyry.circles.friends import (
    MOST_FRIENDS,
    MOST_REQUESTS,
    Direction,
    Friend,
    FriendPage,
    FriendRequest,
    RequestPage,
    Standing,
)
from vyry.errors import Forbidden, NotFound
from vyry.ids import UserId


_ARE_FRIENDS: Final = "EXISTS (SELECT 1 FROM friend WHERE account_id = $1 AND friend_id = $2)"
_STANDING: Final = f"""
    SELECT {_ARE_FRIENDS} AS are_friends, EXISTS (SELECT 1 FROM conversation WHERE pair = $3)
        OR EXISTS (SELECT 1 FROM friend_request WHERE (account_id = $1 AND to_id = $2) OR (account_id = $2 AND to_id = $1)) AS are_acquainted
    FROM account WHERE id = $2 AND deleted_at IS NULL AND NOT {BARRED}"""
_BETWEEN: Final = f"SELECT {BARRED} AS is_barred, {_ARE_FRIENDS} AS are_friends"
_TAKE_REQUEST: Final = "DELETE FROM friend_request WHERE account_id = $1 AND to_id = $2 RETURNING 1"
_REQUEST: Final = "INSERT INTO friend_request (account_id, to_id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_REQUESTS_WAITING: Final = """
    SELECT (SELECT count(*) FROM friend_request WHERE account_id = $1 AND to_id <> $2) AS of_asker,
        (SELECT count(*) FROM friend_request WHERE to_id = $2 AND account_id <> $1) AS to_other"""
#: Those of accounts with a direct conversation stay longest.
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
_BEFRIEND: Final = "INSERT INTO friend (account_id, friend_id, since) VALUES ($1, $2, $3), ($2, $1, $3)"
_PART: Final = """
    DELETE FROM friend WHERE (account_id = $1 AND friend_id = $2) OR (account_id = $2 AND friend_id = $1) RETURNING 1"""
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
    """FriendStore."""

    async def standing(self, asker: UserId, other: UserId) -> Standing:
        async with available():
            found = await fetch(connection(), _STANDING, asker, other, pair_of(asker, other))
        if not found:
            raise NotFound
        if found[0]["are_friends"]:
            return Standing.FRIENDS
        return Standing.ACQUAINTED if found[0]["are_acquainted"] else Standing.STRANGERS

    async def ask(self, asker: UserId, other: UserId, now: datetime) -> bool:
        async with transaction() as inside:
            if await _are_friends(inside, asker, other):
                return True
            if await fetch(inside, _TAKE_REQUEST, other, asker):
                await _befriend(inside, asker, other, now)
                return True
            waiting = (await fetch(inside, _REQUESTS_WAITING, asker, other))[0]
            if waiting["of_asker"] >= MOST_REQUESTS:
                raise Forbidden("Too many requests wait for an answer.")
            if waiting["to_other"] >= MOST_REQUESTS:
                await fetch(inside, _DROP_OLDEST, other, asker)
            await fetch(inside, _REQUEST, asker, other, now)
            return False

    async def accept(self, user: UserId, asker: UserId, now: datetime) -> None:
        async with transaction() as inside:
            if await _are_friends(inside, user, asker):
                return
            if not await fetch(inside, _TAKE_REQUEST, asker, user):
                raise NotFound
            await _befriend(inside, user, asker, now)

    async def drop(self, asker: UserId, other: UserId) -> None:
        async with available():
            if not await fetch(connection(), _TAKE_REQUEST, asker, other):
                raise NotFound

    async def part(self, user: UserId, friend: UserId) -> None:
        async with transaction() as inside:
            await lock_people(inside, user, friend)
            if not await fetch(inside, _PART, user, friend):
                raise NotFound

    async def friends(self, user: UserId, limit: int, after: UserId | None) -> FriendPage:
        async with available():
            rows = await fetch(connection(), _FRIENDS, user, after or _BEFORE_ALL, limit + 1)
        page = [Friend(person_of(row), to_moment(row["since"])) for row in rows[:limit]]
        return FriendPage(page, page[-1].person.user_id if len(rows) > limit else None)

    async def requests(self, user: UserId, direction: Direction, limit: int, after: UserId | None) -> RequestPage:
        sql = _INCOMING if direction is Direction.INCOMING else _OUTGOING
        async with available():
            rows = await fetch(connection(), sql, user, after or _BEFORE_ALL, limit + 1)
        page = [
            FriendRequest(
                UserId(to_uuid(row["id"])), person_of(row) if "username" in row else None, to_moment(row["at"])
            )
            for row in rows[:limit]
        ]
        return RequestPage(page, page[-1].user_id if len(rows) > limit else None)


async def _are_friends(inside: BaseDBAsyncClient, user: UserId, other: UserId) -> bool:
    """Lock both, and say whether they are friends already. Raises NotFound where one does not exist for the other."""
    if other not in await lock_people(inside, user, other):
        raise NotFound
    between = (await fetch(inside, _BETWEEN, user, other))[0]
    if between["is_barred"]:
        raise NotFound
    return bool(between["are_friends"])


async def _befriend(inside: BaseDBAsyncClient, one: UserId, other: UserId, now: datetime) -> None:
    if any(row["had"] >= MOST_FRIENDS for row in await fetch(inside, _FRIENDS_HAD, [one, other])):
        raise Forbidden("One of you has as many friends as one can have.")
    await fetch(inside, _BEFRIEND, one, other, now)
    await fetch(inside, _TAKE_REQUEST, one, other)
