"""The TLS certificate of the node: loaded from two files and reloaded when they change."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from cryptography.x509 import load_pem_x509_certificates

from vyry.errors import CommandError
from vyry.settings.settings import Settings
from vyry.telemetry import CERTIFICATE_ENDS, log


#: How often the files are checked for changes: a certificate is renewed weeks before it expires.
RELOAD_INTERVAL_SECONDS: Final = 30.0
#: For TLS 1.2: forward secrecy and authenticated encryption. All ciphers of TLS 1.3 are of that kind.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsCertificate:
    """Two PEM files and the context for new connections. Open connections keep their certificate."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        self._loaded_stamp = self._file_stamps()
        self.context = self._load_context()
        self._report_expiry()

    async def reload_forever(self, seconds: float = RELOAD_INTERVAL_SECONDS) -> None:
        """Load changed files until cancelled. Invalid files are logged, and the old certificate stays in use."""
        while True:
            await asyncio.sleep(seconds)
            try:
                self._reload_if_changed()
            except (OSError, ValueError) as problem:
                log.warning("certificate_reload_failed", error=type(problem).__name__)

    def _reload_if_changed(self) -> None:
        stamp = self._file_stamps()
        if stamp == self._loaded_stamp:
            return
        # Loaded into a new context first: a half-written pair would leave a certificate without its key.
        self._load_context()
        self.context.load_cert_chain(*self._files)
        self._loaded_stamp = stamp
        self._report_expiry()
        log.info("certificate_reloaded")

    def _report_expiry(self) -> None:
        # The node's own certificate comes first in the file, before those of authorities.
        first = load_pem_x509_certificates(self._files[0].read_bytes())[0]
        CERTIFICATE_ENDS.labels(self._files[0].name).set(first.not_valid_after_utc.timestamp())

    def _file_stamps(self) -> tuple[tuple[int, int, int], ...]:
        facts = [file.stat() for file in self._files]
        return tuple((fact.st_mtime_ns, fact.st_size, fact.st_ino) for fact in facts)

    def _load_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        # Without a password OpenSSL would prompt for one at the terminal.
        context.load_cert_chain(*self._files, password="")  # nosec B106
        return context


def load_certificate(settings: Settings) -> TlsCertificate | None:
    """The configured certificate, or None. Raises CommandError when the files are invalid."""
    cert, key = settings.tls_cert_file, settings.tls_key_file
    if cert is None or key is None:
        return None
    try:
        return TlsCertificate(cert, key)
    except OSError as problem:
        why = problem.strerror if problem.filename else "not a PEM certificate with its matching key"
        raise CommandError(
            f"Cannot use VYRY_TLS_CERT_FILE={cert} and VYRY_TLS_KEY_FILE={key}: {problem.filename or why}"
            f"{f' ({why})' if problem.filename else ''}."
        ) from None


@asynccontextmanager
async def reloading_tls_context(settings: Settings) -> AsyncIterator[ssl.SSLContext | None]:
    """The context to listen with, or None without TLS; the files are watched until the block ends."""
    certificate = load_certificate(settings)
    if certificate is None:
        yield None
        return
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(certificate.reload_forever())
        yield certificate.context
        watching.cancel()
