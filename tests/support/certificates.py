"""Certificates made by the test: an authority, the certificates it signs, and their files."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class CertificateFiles:
    """The files that a server needs: its certificate, its key, and whose authority it stands under."""

    cert: Path
    key: Path
    ca: Path


class CertificateAuthority:
    """Signs for whom it is asked; its own certificate is in `file`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.cert_file = folder / f"{name}.pem"
        self.cert_file.write_bytes(
            _pem(self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0)))
        )

    @property
    def client_context(self) -> ssl.SSLContext:
        """What a client trusts that knows this authority alone."""
        return ssl.create_default_context(cafile=str(self.cert_file))

    def issue(self, name: str, *, address: str = "127.0.0.1", days: float = 1) -> CertificateFiles:
        """Papers for the server at this address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        papers = CertificateFiles(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem", self.cert_file)
        papers.cert.write_bytes(_pem(self._signed(subject, key, place, days)))
        papers.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        papers.key.chmod(0o600)
        return papers

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, days: float = 1
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
