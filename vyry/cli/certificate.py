"""The certificate that the node shows to clients, read from two files and read again when they change."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from vyry.cli.refusals import CannotServe
from vyry.settings import Settings
from vyry.telemetry import log


#: How often the files are looked at: a certificate is renewed weeks before it ends.
LOOK_SECONDS: Final = 30.0
#: Of TLS 1.2: forward secrecy and authenticated encryption. What TLS 1.3 has is all of that kind.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Certificate:
    """Two PEM files and the context that connections are made with. Connections that stand keep what they began with."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        self._seen = self._stamp()
        self.context = self._read()

    async def watch(self, seconds: float = LOOK_SECONDS) -> None:
        """Take up new files until cancelled. Ones that do not do are told of, and the old stay."""
        while True:
            await asyncio.sleep(seconds)
            try:
                self._look()
            except (OSError, ValueError) as problem:
                log.warning("certificate not taken", error=type(problem).__name__)

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        # Tried on a context of its own first: half a change would leave a certificate without its key.
        self._read()
        self.context.load_cert_chain(*self._files)
        self._seen = stamp
        log.info("certificate taken")

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        facts = [file.stat() for file in self._files]
        return tuple((fact.st_mtime_ns, fact.st_size, fact.st_ino) for fact in facts)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        # An empty password is none; without any OpenSSL would ask for one at the terminal.
        context.load_cert_chain(*self._files, password="")  # nosec B106
        return context


def certificate_of(settings: Settings) -> Certificate | None:
    """The certificate that is set, or None. Raises CannotServe when the files do not do."""
    cert, key = settings.tls_cert_file, settings.tls_key_file
    if cert is None or key is None:
        return None
    try:
        return Certificate(cert, key)
    except OSError as problem:
        why = problem.strerror if problem.filename else "they are no certificate and its key"
        raise CannotServe(
            f"Cannot use VYRY_TLS_CERT_FILE={cert} and VYRY_TLS_KEY_FILE={key}: {problem.filename or why}"
            f"{f' ({why})' if problem.filename else ''}."
        ) from None


@asynccontextmanager
async def certified(settings: Settings) -> AsyncIterator[ssl.SSLContext | None]:
    """What to listen with; while the block lasts the files are watched."""
    certificate = certificate_of(settings)
    if certificate is None:
        yield None
        return
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(certificate.watch())
        yield certificate.context
        watching.cancel()
