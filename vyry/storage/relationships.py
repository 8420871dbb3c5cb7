"""What stands between people in PostgreSQL or SQLite: who is whose friend, who blocks whom, and how two accounts are locked.

Theory: whatever changes what is between two people (requests, friendships, blocks, their direct conversation) begins by locking both accounts' rows, in
rising order. So of any number at once, on whichever nodes, one follows the other, and each sees what the one before it did.
"""

from collections.abc import Collection
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.kernel.ids import UserId
from vyry.storage.raw_sql import fetch, to_uuid


#: Whether of $1 and $2 one blocks the other.
IS_BLOCKED: Final = """
    EXISTS (SELECT 1 FROM block WHERE (account_id = $1 AND blocked_id = $2) OR (account_id = $2 AND blocked_id = $1))"""
#: Whether $1 and $2 are in a group together, where blocks count for nothing.
SHARE_GROUP: Final = """
    EXISTS (
        SELECT 1 FROM member x JOIN member y ON y.conversation_id = x.conversation_id AND y.account_id = $2
        JOIN conversation g ON g.id = x.conversation_id AND g.kind = 'group' WHERE x.account_id = $1)"""
#: Whether $2 is no mere stranger to $1: they share a group, or a direct conversation in which $1 has written. Who opened one is still a stranger.
ACQUAINTED: Final = """
    EXISTS (
        SELECT 1 FROM member x JOIN member y ON y.conversation_id = x.conversation_id AND y.account_id = $2
        JOIN conversation c ON c.id = x.conversation_id AND (c.kind = 'group' OR x.has_written) WHERE x.account_id = $1)"""
_LOCK: Final = """
    UPDATE account SET created_at = created_at WHERE id IN (
        SELECT id FROM account WHERE id = ANY($1) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE) RETURNING id"""
_BARRED_AMONG: Final = """
    SELECT blocked_id AS id FROM block WHERE account_id = $1 AND blocked_id = ANY($2)
    UNION SELECT account_id FROM block WHERE blocked_id = $1 AND account_id = ANY($2)"""


async def lock_accounts(tx: BaseDBAsyncClient, *users: UserId) -> set[UserId]:
    """Lock these accounts, as the first thing a transaction does; answers those that there are."""
    return {UserId(to_uuid(row["id"])) for row in await fetch(tx, _LOCK, list(users))}


def pair_key(one: UserId, other: UserId) -> str:
    """What makes the direct conversation of two people the only one."""
    return "".join(sorted((one.hex, other.hex)))


async def barred_from(tx: BaseDBAsyncClient, user: UserId, others: Collection[UserId]) -> set[UserId]:
    """Those of the others who block the user, or whom the user blocks."""
    return {UserId(to_uuid(row["id"])) for row in await fetch(tx, _BARRED_AMONG, user, list(others))}
