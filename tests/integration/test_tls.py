"""TLS to real servers: with the right certificate every client works; with a wrong one or none nothing is sent."""

import asyncio
import re
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.secure_services import SecureKafka, SecurePostgres, SecureRedis
from tests.support.certificates import CertificateAuthority
from tests.support.databases import service_url
from tests.support.work_topics import open_kafka_topic
from vyry.errors import Unavailable
from vyry.kafka.topic import ensure_topic
from vyry.kernel.ids import MailboxKey
from vyry.operator.health import Dependency, probe
from vyry.redis.connection import connect_redis
from vyry.storage.database import connection, open_database
from vyry.storage.mail_postgres.connection import PostgresConnection
from vyry.storage.migrator import migrate


@dataclass(frozen=True)
class Installation:
    """Services that accept only TLS, the authority of their certificates, and another authority."""

    postgres: SecurePostgres
    redis: SecureRedis
    kafka: SecureKafka
    authority: CertificateAuthority
    stranger: CertificateAuthority

    def database(self, mode: str = "verify-full", ca: Path | None = None, host: str = "127.0.0.1") -> str:
        url = self.postgres.url.replace("127.0.0.1", host)
        return f"{url}?sslmode={mode}&sslrootcert={ca or self.authority.cert_file}"

    def cache(self, ca: Path | None = None, host: str = "127.0.0.1") -> str:
        return f"{self.redis.url.replace('127.0.0.1', host)}?ssl_ca_certs={ca or self.authority.cert_file}"

    def streams(self, ca: Path | None = None, host: str = "127.0.0.1") -> str:
        return f"{self.kafka.sasl_url.replace('127.0.0.1', host)}?ca={ca or self.authority.cert_file}"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("papers")
    authority, stranger = CertificateAuthority(folder), CertificateAuthority(folder, "stranger")
    papers = authority.issue("services")
    folder.chmod(0o755)
    servers = (
        SecurePostgres(papers.cert, papers.key),
        SecureRedis(papers.cert, papers.key),
        SecureKafka(papers.cert, papers.key, papers.ca),
    )
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.remove)
        with ThreadPoolExecutor(max_workers=3) as pool:
            for start in [pool.submit(server.start) for server in servers]:
                start.result()
        asyncio.run(ensure_topic(f"{servers[2].url}?ca={authority.cert_file}", 4))
        services = Installation(*servers, authority, stranger)
        asyncio.run(migrate(services.database()))
        yield services


async def encrypted(line: PostgresConnection) -> object:
    return (await line.fetch("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))[0]


async def test_both_ways_to_postgresql_are_encrypted(installation: Installation) -> None:
    url = installation.database()
    line = PostgresConnection(url, "test", {})
    async with open_database(url):
        by_pool = (await connection().execute_query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))[1]

    assert by_pool[0]["ssl"] is True
    assert tuple(await encrypted(line)) == (True, "TLSv1.3")  # type: ignore[arg-type]
    await line.close()


async def test_redis_is_spoken_to_encrypted(installation: Installation) -> None:
    async with connect_redis(installation.cache()) as redis:
        assert await redis.set("key", "value")


@pytest.mark.parametrize("kind", ["url", "sasl_url"])
async def test_producer_and_agents_speak_with_kafka_encrypted_and_by_name(
    installation: Installation, kind: str, topic_prefix: str
) -> None:
    url = f"{getattr(installation.kafka, kind)}/{topic_prefix}?ca={installation.authority.cert_file}"

    async with open_kafka_topic(url) as route:
        route.topic.add(MailboxKey(7))
        await route.depositor.wait_for({MailboxKey(7)})


async def probe_services(
    installation: Installation, ca: Path | None = None, host: str = "127.0.0.1"
) -> list[Dependency]:
    urls = installation.database(ca=ca, host=host), installation.cache(ca, host), installation.streams(ca, host)
    return await probe_three(*urls)


async def probe_three(database: str, *others: str | None) -> list[Dependency]:
    """The services themselves: workers are counted in the database."""
    return [each for each in await probe(database, *others) if each.name != "workers"]


async def test_all_three_are_up_with_the_right_authority(installation: Installation) -> None:
    assert [each.is_up for each in await probe_services(installation)] == [True] * 3


async def test_a_certificate_of_another_authority_is_refused(installation: Installation) -> None:
    found = await probe_services(installation, installation.stranger.cert_file)

    assert [(each.name, each.is_up) for each in found] == [("database", False), ("redis", False), ("kafka", False)]
    assert found[0].problem == "the node does not trust its certificate"


async def test_a_certificate_for_another_host_is_refused(installation: Installation) -> None:
    assert [each.is_up for each in await probe_services(installation, host="localhost")] == [False] * 3


async def test_an_expired_certificate_is_refused(installation: Installation) -> None:
    papers = installation.authority.issue("expired", days=-1)
    with SecureRedis(papers.cert, papers.key) as redis:
        url = f"{redis.url}?ssl_ca_certs={installation.authority.cert_file}"

        found = await probe(installation.database(), url)

    assert [each.is_up for each in found] == [True, False]


async def test_without_a_file_only_the_authorities_of_the_system_count(installation: Installation) -> None:
    urls = (
        re.sub(r"&sslrootcert.*|\?ssl_ca.*|\?ca.*", "", url)
        for url in (installation.database(), installation.cache(), installation.streams())
    )

    assert [each.is_up for each in await probe_three(*urls)] == [False] * 3


async def test_a_wrong_certificate_gets_no_statement(installation: Installation) -> None:
    url = installation.database(ca=installation.stranger.cert_file)
    line = PostgresConnection(url, "test", {})

    with pytest.raises(Unavailable):
        await line.fetch("SELECT 1")
    async with open_database(url):
        with pytest.raises((ssl.SSLError, OSError)):
            await connection().execute_query("SELECT 1")


async def test_a_server_in_clear_is_refused(installation: Installation) -> None:
    ca = installation.authority.cert_file
    database = f"{service_url('TEST_DATABASE_URL')}?sslmode=verify-full&sslrootcert={ca}"
    cache = f"{service_url('TEST_REDIS_URL').replace('redis:', 'rediss:')}?ssl_ca_certs={ca}"
    streams = f"{service_url('TEST_KAFKA_URL').replace('kafka:', 'kafkas:')}?ca={ca}"

    assert [each.is_up for each in await probe_three(database, cache, streams)] == [False] * 3


async def test_who_comes_in_clear_is_sent_away(installation: Installation) -> None:
    clear = (
        f"{installation.postgres.url}?sslmode=disable",
        installation.redis.url.replace("rediss:", "redis:"),
        installation.kafka.url.replace("kafkas:", "kafka:"),
    )

    assert [each.is_up for each in await probe_three(*clear)] == [False] * 3


async def test_a_wrong_password_is_sent_away(installation: Installation) -> None:
    url = installation.streams().replace("only", "other")

    assert [each.is_up for each in await probe_three(installation.database(), None, url)] == [True, False]
