"""What stands between two accounts: friendship, blocks, common conversations.

A transaction that changes any of it (requests, friendships, blocks, the direct conversation) locks both accounts first (`lock_accounts`). So concurrent
changes run one after the other, and each sees the one before.
"""

from typing import Final

from vyry.kernel.ids import UserId


#: Whether $1 or $2 blocks the other.
IS_BLOCKED: Final = """
    EXISTS (SELECT 1 FROM block WHERE (account_id = $1 AND blocked_id = $2) OR (account_id = $2 AND blocked_id = $1))"""
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
