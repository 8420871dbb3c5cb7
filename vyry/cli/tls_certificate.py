"""The certificate that the node shows to clients, read from two files and read again when they change."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from vyry.cli.errors import CommandError
from vyry.settings.settings import Settings
from vyry.telemetry import log


#: How often the files are looked at: a certificate is renewed weeks before it ends.
RELOAD_INTERVAL_SECONDS: Final = 30.0
#: Of TLS 1.2: forward secrecy and authenticated encryption. What TLS 1.3 has is all of that kind.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsCertificate:
    """Two PEM files and the context that connections are made with. Connections that stand keep what they began with."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        self._loaded_stamp = self._file_stamps()
        self.context = self._load_context()

    async def reload_forever(self, seconds: float = RELOAD_INTERVAL_SECONDS) -> None:
        """Take up new files until cancelled. Ones that do not do are told of, and the old stay."""
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
        # Tried on a context of its own first: half a change would leave a certificate without its key.
        self._load_context()
        self.context.load_cert_chain(*self._files)
        self._loaded_stamp = stamp
        log.info("certificate_reloaded")

    def _file_stamps(self) -> tuple[tuple[int, int, int], ...]:
        facts = [file.stat() for file in self._files]
        return tuple((fact.st_mtime_ns, fact.st_size, fact.st_ino) for fact in facts)

    def _load_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        # An empty password is none; without any OpenSSL would ask for one at the terminal.
        context.load_cert_chain(*self._files, password="")  # nosec B106
        return context


def load_certificate(settings: Settings) -> TlsCertificate | None:
    """The certificate that is set, or None. Raises CannotServe when the files do not do."""
    cert, key = settings.tls_cert_file, settings.tls_key_file
    if cert is None or key is None:
        return None
    try:
        return TlsCertificate(cert, key)
    except OSError as problem:
        why = problem.strerror if problem.filename else "they are no certificate and its key"
        raise CommandError(
            f"Cannot use VYRY_TLS_CERT_FILE={cert} and VYRY_TLS_KEY_FILE={key}: {problem.filename or why}"
            f"{f' ({why})' if problem.filename else ''}."
        ) from None


@asynccontextmanager
async def reloading_tls_context(settings: Settings) -> AsyncIterator[ssl.SSLContext | None]:
    """What to listen with; while the block lasts the files are watched."""
    certificate = load_certificate(settings)
    if certificate is None:
        yield None
        return
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(certificate.reload_forever())
        yield certificate.context
        watching.cancel()
