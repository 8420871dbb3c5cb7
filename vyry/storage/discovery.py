"""Contact discovery. Each lookup is one statement, the same whether an account is found or not."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from vyry.contacts.discovery import Person, PublicProfile
from vyry.errors import NotFound
from vyry.kernel.ids import UserId
from vyry.storage.database import connection, database_guard
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.relationships import A_IS_BLOCKED, A_SHARES_CONVERSATION


#: Neither of $1 and the account `a` blocks the other.
_IS_VISIBLE: Final = f"a.deleted_at IS NULL AND NOT {A_IS_BLOCKED}"
_BY_USERNAME: Final = f"""
    SELECT a.id, a.username, a.display_name, a.picture_attachment_id FROM account a WHERE a.username = $2 AND {_IS_VISIBLE}"""
_BY_NUMBERS: Final = f"""
    SELECT a.id, a.username, a.display_name, a.picture_attachment_id, a.phone_hash FROM account a
    WHERE a.phone_hash = ANY($2) AND COALESCE(CAST(a.settings ->> 'discoverableByPhone' AS TEXT), 'true') NOT IN ('false', '0') AND {_IS_VISIBLE}"""
_PROFILE: Final = f"""
    SELECT a.id, a.username, a.display_name, a.picture_attachment_id, a.bio, a.sealed_profile FROM account a
    WHERE a.id = $2 AND {_IS_VISIBLE} AND (
        a.id = $1 OR EXISTS (SELECT 1 FROM friend f WHERE f.account_id = $1 AND f.friend_id = a.id) OR {A_SHARES_CONVERSATION})"""


class TortoiseDiscovery:
    """DiscoveryStore on PostgreSQL or SQLite."""

    async def find_by_username(self, asker: UserId, username: str) -> Person:
        return person_from_row(await _fetch_one(_BY_USERNAME, asker, username))

    async def find_by_phone_hashes(self, asker: UserId, hashes: Collection[str]) -> Mapping[str, Person]:
        async with database_guard():
            found = await fetch(connection(), _BY_NUMBERS, asker, list(hashes))
        return {row["phone_hash"]: person_from_row(row) for row in found}

    async def load_profile(self, viewer: UserId, user_id: UserId) -> PublicProfile:
        row = await _fetch_one(_PROFILE, viewer, user_id)
        return PublicProfile(person_from_row(row), row["bio"], row["sealed_profile"])


def person_from_row(row: dict[str, Any]) -> Person:
    """The account of a row, as other users see it."""
    picture = row["picture_attachment_id"]
    name = row["display_name"]
    return Person(UserId(to_uuid(row["id"])), row["username"], name, picture if picture is None else to_uuid(picture))


async def _fetch_one(sql: str, *values: object) -> dict[str, Any]:
    async with database_guard():
        found = await fetch(connection(), sql, *values)
    if not found:
        raise NotFound
    return found[0]
