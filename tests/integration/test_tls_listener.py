"""The node's own certificate: who speaks modern TLS gets in, new files are taken up, and files that do not do stop the start."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from cryptography import x509

from scripts.nodes import AllInOneProcess, _get
from tests.support.certificates import CertificateAuthority, CertificateFiles
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import NodeClient
from vyry.cli.tls_certificate import TlsCertificate, load_certificate
from vyry.errors import CommandError
from vyry.settings.settings import Role, SettingsError, load_settings
from web.app import build_rest_app
from web.app_keys import Timeouts
from web.connection import serve_app


class SecureAlone(AllInOneProcess):
    """`vyry start` by TLS."""

    def __init__(self, papers: CertificateFiles) -> None:
        super().__init__({"VYRY_TLS_CERT_FILE": str(papers.cert), "VYRY_TLS_KEY_FILE": str(papers.key)})
        self.url = self.url.replace("http:", "https:")

    def _answers(self) -> bool:
        try:
            return bool(_get(f"{self.admin_url}/ready"))
        except OSError:
            return False


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def papers(authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue("node")


@pytest.fixture(scope="module")
def alone(papers: CertificateFiles) -> Iterator[AllInOneProcess]:
    with SecureAlone(papers) as node:
        yield node
        assert "Traceback" not in node.log()


@asynccontextmanager
async def serving(folder: Path, tls: ssl.SSLContext, patience: Timeouts | None = None) -> AsyncIterator[int]:
    """A door without routes."""
    settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(folder)})
    async with serve_app(build_rest_app(settings, cast(Any, None), (), patience), "127.0.0.1", 0, tls=tls) as port:
        yield port


async def shown(port: int, context: ssl.SSLContext) -> x509.Certificate:
    """The certificate that a client is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(raw)


async def test_requests_and_sockets_go_over_tls(alone: AllInOneProcess, authority: CertificateAuthority) -> None:
    connector = aiohttp.TCPConnector(ssl=authority.client_context)
    async with aiohttp.ClientSession(connector=connector) as http:
        device = await NodeClient(http, alone.url, alone.otp_file).sign_up(with_keys=False)

        line = await DeviceSocket.connect_and_resume(device)

        assert line.welcome["userId"] == device.user_id
        await line.close()


async def test_who_speaks_in_clear_gets_no_answer(alone: AllInOneProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.port)

    writer.write(b"GET /health HTTP/1.1\r\nHost: vyry\r\n\r\n")

    assert b"HTTP/1" not in await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256:AES256-SHA256:@SECLEVEL=0"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_old_versions_and_weak_suites_are_refused(
    alone: AllInOneProcess, authority: CertificateAuthority, version: ssl.TLSVersion, ciphers: str
) -> None:
    client = authority.client_context
    client.set_ciphers(ciphers)
    client.minimum_version, client.maximum_version = min(version, ssl.TLSVersion.TLSv1_1), version

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await shown(alone.port, client)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_modern_versions_are_spoken(
    alone: AllInOneProcess, authority: CertificateAuthority, version: ssl.TLSVersion
) -> None:
    client = authority.client_context
    client.minimum_version = client.maximum_version = version

    assert (await shown(alone.port, client)).subject.rfc4514_string() == "CN=node"


async def test_a_new_certificate_is_taken_up_and_a_bad_one_is_not(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    first, second = authority.issue("first"), authority.issue("second")
    certificate = TlsCertificate(first.cert, first.key)
    async with serving(tmp_path / "data", certificate.context) as port, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(certificate.reload_forever(0.01))
        async with asyncio.timeout(10):
            # For a moment the two do not belong together: the old ones stay.
            second.cert.replace(first.cert)
            assert (await shown(port, authority.client_context)).subject.rfc4514_string() == "CN=first"
            second.key.replace(first.key)
            while (await shown(port, authority.client_context)).subject.rfc4514_string() != "CN=second":
                pass
        watching.cancel()


async def test_a_handshake_that_does_not_go_on_is_cut_off(tmp_path: Path, papers: CertificateFiles) -> None:
    context = TlsCertificate(papers.cert, papers.key).context
    async with serving(tmp_path, context, Timeouts(handshake=0.3)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


@pytest.mark.parametrize(
    ("cert", "key", "why"),
    [
        ("nowhere.pem", "node-key.pem", "No such file"),
        ("node.pem", "nowhere.pem", "No such file"),
        ("node.pem", "other-key.pem", "not a PEM certificate with its matching key"),
        ("node-key.pem", "node.pem", "not a PEM certificate with its matching key"),
        ("node.pem", "empty.pem", "not a PEM certificate with its matching key"),
    ],
)
def test_files_that_do_not_do_stop_the_start_with_one_line(
    papers: CertificateFiles, authority: CertificateAuthority, cert: str, key: str, why: str
) -> None:
    folder = papers.cert.parent
    authority.issue("other")
    (folder / "empty.pem").touch()
    names = {"VYRY_TLS_CERT_FILE": str(folder / cert), "VYRY_TLS_KEY_FILE": str(folder / key)}

    with pytest.raises(CommandError, match=why) as refused:
        load_certificate(load_settings(Role.START, {"VYRY_DATA_DIR": str(folder / "data"), **names}))

    assert "\n" not in str(refused.value)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="belong together"):
        load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path), "VYRY_TLS_CERT_FILE": "node.pem"})


@pytest.mark.parametrize(
    ("name", "url", "why"),
    [
        ("DATABASE_URL", "postgres://vyry@db/vyry?sslmode=verify-full&sslrootcert={}", "no file of certificates"),
        ("REDIS_URL", "rediss://cache:6379/0?ssl_ca_certs={}", "no file of certificates"),
        ("KAFKA_URL", "kafkas://stream:9093?ca={}", "no file of certificates"),
        ("KAFKA_URL", "kafka://vyry:secret@stream:9092", "use kafkas://"),
    ],
)
def test_an_authority_that_cannot_be_read_stops_the_start(tmp_path: Path, name: str, url: str, why: str) -> None:
    (tmp_path / "ca.pem").write_text("nothing")

    with pytest.raises(SettingsError, match=why) as refused:
        load_settings(Role.TOOL, {"VYRY_DATA_DIR": str(tmp_path), name: url.format(tmp_path / "ca.pem")})

    assert "secret" not in str(refused.value)
