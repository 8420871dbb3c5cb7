"""The socket of a device, as an operator's command finds it: in Redis, and by asking the node that has it."""

from dataclasses import dataclass
from enum import Enum

from vyry.kernel.ids import MailboxKey
from vyry.redis.connection import connect_redis
from vyry.redis.guard import REDIS_ERRORS
from vyry.redis.socket_query import SocketLocation, locate_socket


class SocketKnowledge(Enum):
    """Whether it is known that the device has a socket."""

    FOUND = "found"
    NONE = "none"
    #: Redis is down.
    UNAVAILABLE = "unavailable"
    #: Without Redis the sockets are known to the node's own process only.
    NOT_SHARED = "notShared"


@dataclass(frozen=True, slots=True)
class Socket:
    """What is known of the socket of a device; `location` only if it was found."""

    knowledge: SocketKnowledge
    location: SocketLocation | None = None


async def find_socket(redis_url: str | None, mailbox: MailboxKey) -> Socket:
    """What is known of the socket of this mailbox. Takes at most three seconds."""
    if redis_url is None:
        return Socket(SocketKnowledge.NOT_SHARED)
    redis = connect_redis(redis_url)
    try:
        location = await locate_socket(redis, mailbox)
    except REDIS_ERRORS:
        return Socket(SocketKnowledge.UNAVAILABLE)
    finally:
        await redis.aclose()
    return Socket(SocketKnowledge.FOUND if location else SocketKnowledge.NONE, location)
