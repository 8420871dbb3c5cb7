"""PostgreSQL comes up without tables: web nodes and workers say so once, answer 503, and serve as soon as `vyry migrate` has run."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from scripts.nodes import VyryProcess, WebProcess, WorkerProcess, _get, migrate
from scripts.services import Postgres, Redis, free_port
from tests.support.rest_device import NodeClient


class EarlyWebProcess(WebProcess):
    """A web node that runs before its database."""

    def _answers(self) -> bool:
        try:
            return bool(_get(f"{self.url}/health"))
        except OSError:
            return False


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[tuple[Postgres, WebProcess, WorkerProcess]]:
    """A web node and a worker without a database and without a broker."""
    postgres, redis, pepper = Postgres(), Redis(), tmp_path / "pepper"
    pepper.write_text(secrets.token_urlsafe(48))
    pepper.chmod(0o600)
    environment = {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis.url,
        "KAFKA_URL": f"kafka://127.0.0.1:{free_port()}",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "VYRY_PEPPER_FILE": str(pepper),
        "VYRY_SMS": f"file:{tmp_path / 'codes'}",
    }
    with ExitStack() as stack:
        stack.callback(postgres.remove)
        stack.enter_context(redis)
        web = stack.enter_context(EarlyWebProcess(environment))
        yield postgres, web, stack.enter_context(WorkerProcess(environment))


def assert_told_once(process: VyryProcess) -> None:
    log = process.log()
    assert log.count('"not_migrated"') == 1
    assert "Traceback" not in log
    assert len([line for line in log.splitlines() if '"request_finished"' not in line]) < 15


async def test_a_database_without_tables_is_told_once_and_served_when_they_appear(
    installation: tuple[Postgres, WebProcess, WorkerProcess], tmp_path: Path
) -> None:
    postgres, web, worker = installation
    await asyncio.to_thread(postgres.start)
    async with aiohttp.ClientSession() as http:
        refused = [await status(http, web) for _ in range(20)]
        async with http.get(f"{web.url}/ready") as answer:
            readiness, said = answer.status, await answer.text()
        await asyncio.sleep(4)
        for process in (web, worker):
            assert_told_once(process)

        # There is no broker, for whose topic it would wait.
        await asyncio.to_thread(migrate, {k: v for k, v in web.environment.items() if k != "KAFKA_URL"})
        began = time.monotonic()
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(WebProcess._answers, web):  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.1)
        ann = await NodeClient(http, web.url, tmp_path / "codes").sign_up()

    assert set(refused) == {503}
    assert (readiness, "vyry migrate" in said, bool(ann.token)) == (503, True, True)
    assert time.monotonic() - began < 10
    assert worker.metrics()['vyry_dependency_up{dependency="database"}'] == 1


async def status(http: aiohttp.ClientSession, web: WebProcess) -> int:
    """What a request that needs the database gets."""
    body = {"refreshToken": "x" * 43, "attemptId": "0198f7a0-0000-7000-8000-000000000000"}
    async with http.post(f"{web.url}/api/v1/auth/refresh-token", json=body) as answer:
        await asyncio.sleep(0.1)
        return answer.status
