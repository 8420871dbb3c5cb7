"""The client of Redis."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from vyry.redis.guard import DEADLINE_SECONDS


#: When many sockets open at once, their calls queue for a connection: that is no failure of Redis.
MAX_CONNECTIONS: Final = 32


def connect_redis(url: str) -> Redis:
    """A client without retries of its own; its callers set the deadlines. While all its connections are busy, a call waits for one.

    With a socket_timeout redis-py 8 sends through asyncio.wait_for, which on Python 3.11 can swallow a cancellation (python/cpython#86296) and costs a
    task for each command.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=DEADLINE_SECONDS,
        socket_timeout=None,
        socket_connect_timeout=DEADLINE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
