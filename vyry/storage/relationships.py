"""SQL conditions on two accounts: friendship, blocks, common conversations.

A transaction that changes any of it (requests, friendships, blocks, the direct conversation) locks both accounts first (`lock_accounts`). So concurrent
changes run one after the other, and each sees the one before.
"""

from typing import Any, Final

from tortoise.expressions import Q

from vyry.kernel.ids import UserId


def is_blocked(one: str, other: str) -> str:
    """Whether one of two accounts blocks the other. The arguments are SQL expressions of their ids."""
    return (
        f"EXISTS (SELECT 1 FROM block b WHERE (b.account_id = {one} AND b.blocked_id = {other})"
        f" OR (b.account_id = {other} AND b.blocked_id = {one}))"
    )


def shares_conversation(one: str, other: str) -> str:
    """Whether two accounts are members of the same conversation. The arguments are SQL expressions of their ids."""
    return (
        f"EXISTS (SELECT 1 FROM member x JOIN member y ON y.conversation_id = x.conversation_id AND y.account_id = {other}"
        f" WHERE x.account_id = {one})"
    )


#: Whether $1 or $2 blocks the other.
IS_BLOCKED: Final = is_blocked("$1", "$2")
#: Whether $1 or the account `a` blocks the other, and whether the two share a conversation.
A_IS_BLOCKED: Final = is_blocked("$1", "a.id")
A_SHARES_CONVERSATION: Final = shares_conversation("$1", "a.id")
#: Whether $1 and $2 share a conversation.
SHARES_CONVERSATION: Final = shares_conversation("$1", "$2")
#: Whether $1 and $2 share a group, in which blocks have no effect.
SHARE_GROUP: Final = """
    EXISTS (
        SELECT 1 FROM member x JOIN member y ON y.conversation_id = x.conversation_id AND y.account_id = $2
        JOIN conversation g ON g.id = x.conversation_id AND g.kind = 'group' WHERE x.account_id = $1)"""
#: Whether $2 is no stranger to $1: they share a group, or a direct conversation in which $1 has written.
ACQUAINTED: Final = """
    EXISTS (
        SELECT 1 FROM member x JOIN member y ON y.conversation_id = x.conversation_id AND y.account_id = $2
        JOIN conversation c ON c.id = x.conversation_id AND (c.kind = 'group' OR x.has_written) WHERE x.account_id = $1)"""


def pair_key(one: UserId, other: UserId) -> str:
    """The unique key of the direct conversation of two accounts."""
    return "".join(sorted((one.hex, other.hex)))


def in_either_direction(one: UserId, other: UserId, to: str = "to_id") -> Q:
    """The rows from one account to the other, of a model with `account_id` and this column."""
    there: dict[str, Any] = {"account_id": one, to: other}
    back: dict[str, Any] = {"account_id": other, to: one}
    return Q(**there) | Q(**back)
