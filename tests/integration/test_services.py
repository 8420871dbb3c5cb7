"""What the tests themselves stand on: servers that keep their data while a test takes them down, and that never outlive the run."""

import os
import select
import subprocess
import sys

import asyncpg
import pytest

from scripts.services import Kafka, Postgres, Redis, Server, is_listening
from tests.support.paths import ROOT


STARTER = """
import time
from scripts.services import Redis
redis = Redis()
redis.start()
print(redis.port, redis.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", [Postgres, Redis, Kafka])
def test_a_server_taken_down_is_away_and_comes_back_on_its_port(kind: type[Server]) -> None:
    with kind() as server:
        port = server.port

        server.stop()
        was_away = not is_listening(port)
        server.start()

        assert (was_away, server.port, is_listening(port)) == (True, port, True)


async def test_postgres_keeps_committed_rows_over_crash_after_crash() -> None:
    with Postgres() as postgres:
        connection = await asyncpg.connect(postgres.url)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")

        for _ in range(5):
            postgres.kill()
            postgres.start()

        again = await asyncpg.connect(postgres.url)
        assert await again.fetchval("SELECT one FROM kept") == 1
        assert await again.fetchval("SHOW fsync") == "on"
        await again.close()
        connection.terminate()


def test_a_server_removed_leaves_nothing() -> None:
    with Redis() as redis:
        folder, port = redis.folder, redis.port

    assert (folder.exists(), is_listening(port)) == (False, False)


def test_a_server_ends_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        port, pid = map(int, parent.stdout.readline().split())
        redis = os.pidfd_open(pid)

        parent.kill()
        ended, _, _ = select.select([redis], [], [], 10)
        os.close(redis)

    assert (ended, is_listening(port)) == ([redis], False)
