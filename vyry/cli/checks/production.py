"""The production checklist of docs/operations.md, item by item, for `vyry check --production`."""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
from cryptography import x509
from cyclopts import Parameter
from redis.exceptions import RedisError

from vyry.cli.checks.finding import Finding
from vyry.cli.checks.machine import expiry_finding, is_unspecified
from vyry.cli.command_line import FreeText
from vyry.clock import SystemClock
from vyry.errors import Unavailable
from vyry.kernel.url_safety import is_loopback
from vyry.operator.audit import last_action_at
from vyry.redis.connection import connect_redis
from vyry.settings.settings import Settings
from vyry.storage.database import is_postgres, open_database


_TIMEOUT_SECONDS: Final = 3.0
#: The state of a listening socket in /proc/net/tcp.
_LISTENING: Final = "0A"
#: Ports that a host usually opens on purpose: SSH, and HTTP and HTTPS of the TLS proxy.
_USUAL_PORTS: Final = frozenset({22, 80, 443})


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionOptions:
    """What `vyry check --production` cannot know from the settings.

    Args:
        url: Public address of the node, such as https://chat.example.org: its certificate and /health are checked.
        backup_days: Highest age of the last backup in days.
    """

    url: FreeText = ""
    backup_days: int = 7


async def check_production(settings: Settings, options: ProductionOptions) -> list[Finding]:
    """One finding or more for each item of the checklist, in its order."""
    return [
        *_check_settings(settings),
        await _check_database_encryption(settings),
        *await _check_redis(settings),
        *_check_kafka(settings),
        await _check_monitoring(settings),
        await _check_backup(settings, options.backup_days),
        *await _check_public_address(settings, options.url),
        *_check_listeners(settings),
        await _check_health(settings),
    ]


def _check_settings(settings: Settings) -> Iterator[Finding]:
    if settings.env == "production":
        yield Finding("production", "ok", "VYRY_ENV=production: unsafe settings stop a node, JWT_SECRET among them.")
    else:
        yield Finding(
            "production", "failed", "VYRY_ENV=development accepts unsafe settings: unset it, or set it to production."
        )
    if settings.limits == "off":
        yield Finding("limits", "failed", "VYRY_LIMITS=off: one client can use up the node. Unset it.")
    else:
        yield Finding("limits", "ok", "Rate limits are on.")
    if "*" in settings.cors_origins:
        yield Finding("cors", "failed", "VYRY_CORS_ORIGINS=* lets every page act for your users: name the origins.")
    else:
        yield Finding("cors", "ok", f"{len(settings.cors_origins)} web origins may use the node.")
    if not is_loopback(settings.admin_host):
        line = (
            f"VYRY_ADMIN_HOST={settings.admin_host} shows metrics to other machines: only the monitoring may reach it."
        )
        yield Finding("admin", "warning", line)


async def _check_database_encryption(settings: Settings) -> Finding:
    url = settings.database_url.get_secret_value()
    if not is_postgres(url) or _is_local(url):
        return Finding("encryption", "ok", "The database is on this machine.")
    try:
        connection = await asyncpg.connect(url, timeout=_TIMEOUT_SECONDS, command_timeout=_TIMEOUT_SECONDS)
        try:
            is_encrypted = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        finally:
            connection.terminate()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return Finding("encryption", "failed", "PostgreSQL does not answer, so its encryption was not checked.")
    return _encryption_finding(is_encrypted=is_encrypted, is_verified="verify-full" in url)


def _encryption_finding(*, is_encrypted: bool, is_verified: bool) -> Finding:
    if is_encrypted and is_verified:
        return Finding("encryption", "ok", "The connection to PostgreSQL is encrypted, and its certificate is checked.")
    remedy = "set ?sslmode=verify-full&sslrootcert=FILE in DATABASE_URL."
    if is_encrypted:
        return Finding("encryption", "warning", f"The certificate of PostgreSQL is not checked: {remedy}")
    return Finding("encryption", "failed", f"The connection to PostgreSQL is not encrypted: {remedy}")


async def _check_redis(settings: Settings) -> list[Finding]:
    if settings.redis_url is None:
        return []
    url = settings.redis_url.get_secret_value()
    findings = (
        []
        if await _asks_for_password(url)
        else [
            Finding(
                "redis",
                "failed",
                "Redis accepts everybody without a password: set requirepass or an ACL, and put the password into REDIS_URL.",
            )
        ]
    )
    if urlsplit(url).scheme == "redis" and not _is_local(url):
        findings.append(Finding("redis", "failed", "The connection to Redis is not encrypted: use rediss://."))
    return findings or [Finding("redis", "ok", "Redis asks for a password, on this machine or by TLS.")]


async def _asks_for_password(url: str) -> bool:
    """Whether Redis refuses a client without credentials. True as well when it does not answer: another check reports that."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), connect_redis(bare) as client:
            await client.ping()
    except (RedisError, OSError):
        return True
    return False


def _check_kafka(settings: Settings) -> Iterator[Finding]:
    if settings.kafka_url is None:
        return
    url = settings.kafka_url.get_secret_value()
    if url.startswith("kafkas://") or _is_local(url):
        yield Finding("kafka", "ok", "Kafka is on this machine, or is reached by TLS.")
    else:
        yield Finding(
            "kafka", "warning", "The connection to Kafka is not encrypted: use kafkas:// with a user and a password."
        )


def _is_local(url: str) -> bool:
    """Whether every host of the URL is this machine, by its loopback interface or a Unix socket."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return all(not host or is_loopback(urlsplit(f"//{host}").hostname or "") for host in hosts)


async def _check_monitoring(settings: Settings) -> Finding:
    host = "127.0.0.1" if is_unspecified(settings.admin_host) else settings.admin_host
    problem = await _request_problem(f"http://{host}:{settings.admin_port}/metrics", needle=b"vyry_")
    if problem:
        return Finding(
            "monitoring",
            "failed",
            f"No metrics at {host}:{settings.admin_port} ({problem}): start the node, and have Prometheus read them.",
        )
    return Finding("monitoring", "ok", f"Metrics are served at {host}:{settings.admin_port}.")


async def _check_backup(settings: Settings, days: int) -> Finding:
    try:
        async with open_database(settings.database_url.get_secret_value()):
            last = await last_action_at("backup")
    except Unavailable:
        return Finding("backup", "failed", "The database does not answer, so the age of the last backup is not known.")
    if last is None:
        return Finding(
            "backup", "failed", "`vyry backup` has never made a verified backup of this database: set up a timer."
        )
    if SystemClock().now() - last > timedelta(days=days):
        return Finding(
            "backup",
            "failed",
            f"The last verified backup is of {last:%Y-%m-%d}, over {days} days old: repair the timer.",
        )
    return Finding("backup", "ok", f"The last verified backup is of {last:%Y-%m-%d %H:%M}Z.")


async def _check_public_address(settings: Settings, url: str) -> list[Finding]:
    if not url:
        return [_unchecked_address(settings)]
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return [Finding("tls", "failed", "--url must be https://HOST[:PORT]: clients must reach the node by TLS.")]
    problem = await _request_problem(f"{url.rstrip('/')}/health")
    health = [Finding("tls", "failed", f"{url}/health: {problem}.")] if problem else []
    return [await _certificate_finding(parts.hostname, parts.port or 443), *health]


def _unchecked_address(settings: Settings) -> Finding:
    ask = "Check the public address too: --url https://HOST."
    if settings.tls_cert_file is not None or settings.trusted_proxies:
        return Finding("tls", "warning", f"The settings name a certificate or a TLS proxy. {ask}")
    return Finding("tls", "failed", f"The settings name no certificate and no TLS proxy. {ask}")


async def _certificate_finding(host: str, port: int) -> Finding:
    try:
        return expiry_finding("tls", await _certificate_end(host, port))
    except ssl.SSLCertVerificationError as problem:
        return Finding("tls", "failed", f"The certificate of {host} is not valid: {problem.verify_message}.")
    except (OSError, TimeoutError):
        return Finding("tls", "failed", f"{host}, port {port}, does not answer by TLS.")


async def _certificate_end(host: str, port: int) -> datetime:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context(), server_hostname=host)
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc
    finally:
        writer.close()


def _check_listeners(settings: Settings) -> Iterator[Finding]:
    expected = _USUAL_PORTS | {settings.server_port}
    others = sorted(_open_ports() - expected)
    if others:
        yield Finding(
            "firewall",
            "warning",
            f"This machine also listens on port {', '.join(map(str, others))} beyond loopback: close what clients do not need in the firewall.",
        )
    else:
        yield Finding("firewall", "ok", "This machine listens on no other port beyond loopback.")


def _open_ports() -> set[int]:
    """The TCP ports on which this machine listens beyond loopback; empty where Linux' /proc is missing."""
    found = set()
    for name in ("tcp", "tcp6"):
        path = Path("/proc/net") / name
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            if state == _LISTENING and not _is_loopback_hex(address):
                found.add(int(port, 16))
    return found


def _is_loopback_hex(address: str) -> bool:
    """Whether an address as /proc writes it, in words of little-endian bytes, is loopback."""
    words = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    found = ip_address(words)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


async def _check_health(settings: Settings) -> Finding:
    scheme = "https" if settings.tls_cert_file else "http"
    host = "127.0.0.1" if is_unspecified(settings.server_host) else settings.server_host
    problem = await _request_problem(f"{scheme}://{host}:{settings.server_port}/health", is_verified=False)
    if problem:
        return Finding("health", "failed", f"No node answers at {host}:{settings.server_port} ({problem}): start it.")
    return Finding("health", "ok", f"The node at {host}:{settings.server_port} is up.")


async def _request_problem(url: str, *, needle: bytes = b"", is_verified: bool = True) -> str:
    """Why a GET of this URL does not succeed; empty when it answers 200 with the needle in its body."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    trust = ssl.create_default_context() if is_verified else False
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, ssl=trust) as response:
            if response.status != 200:
                return f"status {response.status}"
            return "" if needle in await response.read() else "another program answers"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return type(error).__name__
