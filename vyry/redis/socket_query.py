"""The names that mailboxes and nodes have in Redis, and the question which node has the socket of a mailbox.

The lease of a location lasts a minute, also after its node was killed: whether the node lives, only its answer shows.
"""

import asyncio
import secrets
from dataclasses import asdict, dataclass, fields
from typing import Final

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import SocketDetails
from vyry.redis.guard import DEADLINE_SECONDS
from vyry.redis.hints import Hint, HintKind


_TOKEN_BYTES: Final = 16
_FIELDS: Final = frozenset(each.name for each in fields(SocketDetails))


@dataclass(frozen=True, slots=True)
class SocketLocation:
    """The node that announced a socket of the mailbox, and its answer."""

    node: str
    connection: int
    #: Whether the node answered within a second. A node of an older version does not.
    has_answered: bool
    #: None if the node did not answer, or has no such socket any more.
    details: SocketDetails | None


async def locate_socket(redis: Redis, mailbox: MailboxKey, prefix: str = "vyry") -> SocketLocation | None:
    """Where the socket of this mailbox is; None without one. Raises what redis-py raises, and TimeoutError."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        found = await redis.get(location_key(mailbox, prefix))
    if not isinstance(found, bytes):
        return None
    node, _, connection = found.decode().partition(":")
    token = secrets.token_bytes(_TOKEN_BYTES)
    async with redis.pubsub() as channel:
        await channel.subscribe(answer_channel(token, prefix))
        question = Hint(HintKind.DESCRIBE, token, [mailbox]).pack()
        has_listener = await redis.publish(channel_name(node, prefix), question)
        answer = await _read_answer(channel) if has_listener else None
    return SocketLocation(node, int(connection), answer is not None, _unpack_answer(answer) if answer else None)


async def _read_answer(channel: PubSub) -> bytes | None:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            async for message in channel.listen():
                if message["type"] == "message":
                    return bytes(message["data"])
    except TimeoutError:
        pass
    return None


def pack_answer(details: SocketDetails | None) -> bytes:
    """The answer of a node."""
    return orjson.dumps(None if details is None else asdict(details))


def _unpack_answer(answer: bytes) -> SocketDetails | None:
    found = orjson.loads(answer)
    return None if found is None else SocketDetails(**{name: found[name] for name in _FIELDS})


def answer_channel(token: bytes, prefix: str = "vyry") -> str:
    """The channel on which the answer to a question is expected."""
    return f"{prefix}:answer:{token.hex()}"


def channel_name(node: str, prefix: str = "vyry") -> str:
    """The channel of the hints for this node."""
    return f"{prefix}:node:{node}"


def location_key(mailbox: MailboxKey, prefix: str = "vyry") -> str:
    """The leased key that names the node with the socket of this mailbox."""
    return f"{prefix}:where:{mailbox}"
