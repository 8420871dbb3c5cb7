"""`vyry check` beside a cluster's services: each wrong setting has one clear line, and so has each item of the production checklist."""

import asyncio
import json
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest

from tests.support.certificates import CertificateAuthority
from vyry.accounts.events import OperatorAction
from vyry.accounts.phone import fingerprint
from vyry.cli.main import main
from vyry.cli.operator import write_audit_entry
from vyry.clock import SystemClock
from vyry.kafka.topic import ensure_topic
from vyry.kafka.url import topic_name
from vyry.mail.workers import WorkerIdentity
from vyry.storage.database import open_database
from vyry.storage.partition_models import WorkerRow
from vyry.storage.partitions import PartitionStore
from vyry.storage.peppers import PepperEntry, add_first_pepper
from vyry.storage.workers import TortoiseWorkers


Findings = Callable[..., list[tuple[str, str, str]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    for name in ("pepper", "other-pepper"):
        (data / name).write_text(secrets.token_urlsafe(40))
        (data / name).chmod(0o600)
    return data


async def _run_worker(database: str, topic: str) -> None:
    """The rows of a migrated installation with one live worker."""
    async with open_database(database):
        await PartitionStore().create_map(4, topic)
        await TortoiseWorkers().claim(WorkerIdentity(name="one", host="one.example", version="1.0", boot=uuid4()))
        await WorkerRow.all().update(heartbeat_at=SystemClock().now() + timedelta(hours=1))


@pytest.fixture
def cluster(folder: Path, postgres_url: str, redis_url: str, kafka_url: str, topic_prefix: str) -> dict[str, str]:
    """Right settings of a production node beside running services."""
    kafka = f"{kafka_url}/{topic_prefix}"
    asyncio.run(ensure_topic(kafka, 4))
    asyncio.run(_run_worker(postgres_url, topic_name(kafka)))
    return {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "KAFKA_URL": kafka,
        "JWT_SECRET": secrets.token_urlsafe(40),
        "VYRY_DATA_DIR": str(folder),
        "VYRY_TRUSTED_PROXIES": "127.0.0.1",
        "VYRY_SMS": "webhook:https://sms.example.org/codes",
        "VYRY_MAX_CONNECTIONS": "500",
        "VYRY_MAX_SOCKETS": "400",
    }


@pytest.fixture
def findings(
    cluster: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Findings:
    """What `vyry check` finds with some settings changed, or removed: (subject, state, text)."""

    def run(changed: Mapping[str, str | None], *options: str) -> list[tuple[str, str, str]]:
        for name, value in {**cluster, **changed}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        code = main(["check", "--json", *options])
        answer = json.loads(capsys.readouterr().out)
        assert code == (0 if answer["ok"] else 1)
        return [(each["about"], each["state"], each["line"]) for each in answer["findings"]]

    return run


def test_right_settings_have_no_finding_but_ok(findings: Findings) -> None:
    assert [each for each in findings({}) if each[1] != "ok"] == []


WRONG: dict[str, tuple[dict[str, str | None], str, str]] = {
    "another topic": ({"KAFKA_URL": "{KAFKA_URL}.other"}, "failed", "run `vyry migrate`"),
    "another number of partitions": ({"VYRY_PARTITIONS": "12"}, "warning", "VYRY_PARTITIONS=12 counts only for a new topic"),
    "one broker of two": ({"KAFKA_URL": "{KAFKA_SERVER},127.0.0.1:1{KAFKA_PATH}"}, "warning", "127.0.0.1:1, which does not answer"),
    "no pepper file": ({"VYRY_PEPPER_FILE": "/nowhere/pepper"}, "failed", "vyry secrets"),
    "metrics for everyone": ({"VYRY_ADMIN_HOST": "0.0.0.0"}, "failed", "shows metrics to other machines"),
    "no certificate": ({"VYRY_TLS_CERT_FILE": "/nowhere/c", "VYRY_TLS_KEY_FILE": "/nowhere/k"}, "failed", "there is no file /nowhere/c"),
    "more connections than files": ({"VYRY_MAX_CONNECTIONS": "9000000"}, "warning", "may open"),
    "more sockets than connections": ({"VYRY_MAX_SOCKETS": "501"}, "failed", "counts sockets too"),
    "a misspelt DATABASE_URL": ({"DATABASE_URL": None, "DATABSE_URL": "postgres://x"}, "failed", "DATABSE_URL is set: is DATABASE_URL meant?"),
    "a misspelt REDIS_URL": ({"REDIS_URL": None, "REDIS_ULR": "redis://x"}, "failed", "REDIS_ULR is set: is REDIS_URL meant?"),
    "another name for KAFKA_URL": ({"KAFKA_URL": None, "KAFKA_BROKERS": "x:9092"}, "failed", "KAFKA_BROKERS is set: is KAFKA_URL meant?"),
    "a port of Kafka that is no number": ({"KAFKA_URL": "kafka://127.0.0.1:abc"}, "failed", "KAFKA_URL must name a port"),
    "a port of Redis that is no number": ({"REDIS_URL": "redis://127.0.0.1:abc/0"}, "failed", "REDIS_URL must name a port"),
    "a port of the database beyond all": ({"DATABASE_URL": "postgres://u@127.0.0.1:65536/x"}, "failed", "DATABASE_URL must name a port"),
    "an unknown host of the database": ({"DATABASE_URL": "postgres://u@no.such.host.invalid/x"}, "failed", "name of its host is not known"),
    "an unknown host of Redis": ({"REDIS_URL": "redis://no.such.host.invalid/0"}, "failed", "name of its host is not known"),
    "a database of Redis that does not exist": ({"REDIS_URL": "{REDIS_SERVER}/99"}, "failed", "no database of that number"),
    "an unknown own host": ({"SERVER_HOST": "no.such.host.invalid"}, "failed", "SERVER_HOST=no.such.host.invalid"),
    "an address of another machine": ({"SERVER_HOST": "192.0.2.7"}, "failed", "this machine has no such address"),
    "one port for two": ({"VYRY_ADMIN_PORT": "8000"}, "warning", "both 8000"),
    "every client is a proxy": ({"VYRY_TRUSTED_PROXIES": "0.0.0.0/0"}, "failed", "trusts the address that any client names"),
    "a long handover": ({"VYRY_HANDOVER_MS": "60000"}, "warning", "mail waits that long"),
    "no key of Web Push": ({"VYRY_VAPID_KEY_FILE": "/nowhere/vapid"}, "warning", "browsers get no push"),
    "a file in place of the data folder": ({"VYRY_DATA_DIR": "{VYRY_DATA_DIR}/pepper", "VYRY_PEPPER_FILE": "{VYRY_DATA_DIR}/pepper"}, "failed", "is a file: set VYRY_DATA_DIR"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_has_one_clear_line(name: str, cluster: Mapping[str, str], findings: Findings) -> None:
    changed, state, words = WRONG[name]
    server, _, path = cluster["KAFKA_URL"].removeprefix("kafka://").partition("/")
    known = {
        **cluster,
        "KAFKA_SERVER": f"kafka://{server}",
        "KAFKA_PATH": f"/{path}",
        "REDIS_SERVER": cluster["REDIS_URL"].rpartition("/")[0],
    }

    found = findings({each: value and value.format(**known) for each, value in changed.items()})

    assert [each[1] for each in found if words in each[2]] == [state]


def test_a_pepper_file_that_does_not_fit_the_database_is_named(
    cluster: Mapping[str, str], folder: Path, findings: Findings
) -> None:
    async def register() -> None:
        async with open_database(cluster["DATABASE_URL"]):
            used = fingerprint((folder / "pepper").read_bytes())
            await add_first_pepper(PepperEntry(1, used, SystemClock().now()))

    asyncio.run(register())
    assert "failed" not in {each[1] for each in findings({})}

    found = findings({"VYRY_PEPPER_FILE": str(folder / "other-pepper")})

    assert [each[0] for each in found if each[1] == "failed"] == ["pepper"]


@pytest.mark.parametrize(
    ("days", "state"), [(-1.0, "failed"), (3.0, "warning"), (90.0, "ok")], ids=["expired", "expires soon", "good"]
)
def test_a_certificate_is_checked_before_clients_see_it(
    days: float, state: str, tmp_path: Path, findings: Findings
) -> None:
    files = CertificateAuthority(tmp_path).issue("node", days=days)

    found = findings({"VYRY_TLS_CERT_FILE": str(files.cert), "VYRY_TLS_KEY_FILE": str(files.key)})

    assert [each[1] for each in found if each[0] == "certificate"] == [state]


def test_the_key_of_another_certificate_is_refused(tmp_path: Path, findings: Findings) -> None:
    authority = CertificateAuthority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")

    found = findings({"VYRY_TLS_CERT_FILE": str(one.cert), "VYRY_TLS_KEY_FILE": str(other.key)})

    assert [each[1] for each in found if each[0] == "certificate"] == ["failed"]


class _Answer(BaseHTTPRequestHandler):
    """Answers as a node's two ports do: health, and metrics."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"vyry_sockets 0.0\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


@contextmanager
def _http_server(files: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[int]:
    server = ThreadingHTTPServer((host, 0), _Answer)
    if files is not None:
        server.socket = files.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _states(found: list[tuple[str, str, str]], subject: str) -> list[str]:
    return [state for about, state, _ in found if about == subject]


CHECKLIST: dict[str, tuple[dict[str, str | None], str, str]] = {
    "development": ({"VYRY_ENV": "development"}, "production", "failed"),
    "limits off": ({"VYRY_ENV": "development", "VYRY_LIMITS": "off"}, "limits", "failed"),
    "every origin": ({"VYRY_ENV": "development", "VYRY_CORS_ORIGINS": "*"}, "cors", "failed"),
    "metrics beyond this machine": ({"VYRY_ADMIN_HOST": "no.such.host.invalid"}, "admin", "warning"),
    "no metrics": ({"VYRY_ADMIN_PORT": "1"}, "monitoring", "failed"),
    "no node": ({"SERVER_PORT": "1"}, "health", "failed"),
    "no TLS": ({"VYRY_TRUSTED_PROXIES": None, "SERVER_HOST": "127.0.0.1"}, "tls", "failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKLIST)
def test_each_broken_item_of_the_checklist_is_found(name: str, findings: Findings) -> None:
    changed, subject, state = CHECKLIST[name]

    assert _states(findings(changed, "--production"), subject) == [state]


def test_the_checklist_of_a_node_that_is_right(findings: Findings) -> None:
    with _http_server() as port, _http_server() as admin_port:
        found = findings({"SERVER_PORT": str(port), "VYRY_ADMIN_PORT": str(admin_port)}, "--production")

    for subject in ("production", "limits", "cors", "encryption", "kafka", "monitoring", "health"):
        assert set(_states(found, subject)) == {"ok"}, subject


@pytest.mark.parametrize(("days", "state"), [(None, "failed"), (8, "failed"), (1, "ok")], ids=["never", "old", "new"])
def test_the_age_of_the_last_backup_is_checked(
    days: int | None, state: str, cluster: Mapping[str, str], findings: Findings
) -> None:
    if days is not None:
        made = OperatorAction(SystemClock().now() - timedelta(days=days), "olga", "backup", "", None)
        write_audit_entry(cluster["DATABASE_URL"], made)

    assert _states(findings({}, "--production"), "backup") == [state]


def test_redis_without_a_password_is_named(findings: Findings) -> None:
    found = findings({}, "--production")

    assert [text for about, state, text in found if about == "redis" and state == "failed" and "requirepass" in text]


def test_a_service_on_another_machine_must_be_encrypted(findings: Findings) -> None:
    remote = {
        "DATABASE_URL": "postgres://vyry@no.such.host.invalid/vyry",
        "REDIS_URL": "redis://:secret@no.such.host.invalid/0",
        "KAFKA_URL": "kafka://no.such.host.invalid:9092",
    }

    found = findings(remote, "--production")

    assert _states(found, "encryption") == ["failed"]
    assert "The connection to Redis is not encrypted: use rediss://." in [text for _, _, text in found]
    assert [text for about, _, text in found if about == "kafka" and "not encrypted" in text]


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "not trusted"])
def test_the_certificate_of_the_public_address_is_checked(
    is_trusted: bool,
    tmp_path: Path,
    findings: Findings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = CertificateAuthority(tmp_path)
    files = authority.issue("public", days=90)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert_file))

    with _http_server(context) as port:
        found = findings({}, "--production", "--url", f"https://127.0.0.1:{port}")

    assert set(_states(found, "tls")) == ({"ok"} if is_trusted else {"failed"})


def test_another_open_port_of_the_machine_is_named(findings: Findings) -> None:
    with closing(socket.create_server(("0.0.0.0", 0))) as listener:
        port = listener.getsockname()[1]
        (text,) = [text for about, _, text in findings({}, "--production") if about == "firewall"]

    assert str(port) in text
