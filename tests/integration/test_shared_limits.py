"""What one web node counts the others learn through Redis: the wiring of a node of a cluster."""

import asyncio
from pathlib import Path
from typing import cast

from pydantic import SecretStr
from redis.asyncio import Redis

from vyry.composition.services import Services, open_services
from vyry.kernel.ids import MailboxKey, UserId, new_id
from vyry.limits import POST, QuotaReader
from vyry.settings.settings import Role, load_settings


async def in_redis(services: Services) -> int:
    """What is left of Ann's posts for whoever asks Redis, once it is less than all."""
    limiter = cast("QuotaReader", services.limiter)
    for _ in range(500):
        [[grant]] = await limiter.peek([(POST, "ann")])
        if grant.remaining < grant.limit:
            return grant.remaining
        await asyncio.sleep(0.01)
    raise TimeoutError


async def test_a_node_of_a_cluster_shares_posts_and_places(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    names = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": sqlite_url, "VYRY_LIMIT_POST": "60/60000"}
    settings = load_settings(Role.START, names).model_copy(update={"redis_url": SecretStr(redis_url)})

    async with open_services(settings, Role.START) as services, Redis.from_url(redis_url) as redis:
        services.buckets.consume("ann", (POST, 7))
        told = await in_redis(services)
        async with services.connection_slots.acquire(UserId(new_id()), MailboxKey(1), "198.51.100.1"):
            held = await redis.keys("vyry:limit:{sockets_*")
        left = await redis.keys("vyry:limit:{sockets_*")

    assert (told, len(held), left) == (53, 2, [])
