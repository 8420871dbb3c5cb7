"""The servers of scripts/services.py, speaking TLS alone: who comes in clear is sent away. Whoever starts them brings the certificates."""

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

from scripts.services import POSTGRES_USER, Kafka, Postgres, Redis, free_port, is_listening


KAFKA_USER = "vyry"
KAFKA_PASSWORD = "only for tests"


class SecurePostgres(Postgres):
    """PostgreSQL that lets nobody in without TLS."""

    def __init__(self, cert: Path, key: Path) -> None:
        super().__init__()
        self._papers = (cert, key)

    def _prepare(self) -> None:
        super()._prepare()
        (self.folder / "data/pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
        for paper, name in zip(self._papers, ("server.crt", "server.key"), strict=True):
            copy = Path(shutil.copy(paper, self.folder / "data" / name))
            copy.chmod(0o600)
            if os.geteuid() == 0:
                user = pwd.getpwnam(POSTGRES_USER)
                os.chown(copy, user.pw_uid, user.pw_gid)

    def _command(self) -> Sequence[str | Path]:
        return [*super()._command(), "-c", "ssl=on"]


class SecureRedis(Redis):
    """Redis whose only port speaks TLS."""

    def __init__(self, cert: Path, key: Path) -> None:
        super().__init__()
        self._papers = (cert, key)

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0"

    def _command(self) -> Sequence[str | Path]:
        cert, key = self._papers
        tls: list[str | Path] = [
            "--tls-port",
            str(self.port),
            "--tls-cert-file",
            cert,
            "--tls-key-file",
            key,
            "--tls-auth-clients",
            "no",
        ]
        # Of two `--port` options the last one counts: no port without TLS.
        return [*super()._command(), "--port", "0", *tls, "--tls-ca-cert-file", cert]

    def _answers(self) -> bool:
        return is_listening(self.port)


class SecureKafka(Kafka):
    """Kafka with one port for TLS (`url`), and one for TLS with SASL: name and password (`sasl_url`)."""

    def __init__(self, cert: Path, key: Path, ca: Path) -> None:
        super().__init__()
        self._papers = (cert, key, ca)
        self.sasl_port = free_port()

    @property
    def url(self) -> str:
        return f"kafkas://127.0.0.1:{self.port}"

    @property
    def sasl_url(self) -> str:
        """The port that needs a name and a password."""
        return f"kafkas://{KAFKA_USER}:{KAFKA_PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.sasl_port}"

    def _properties(self) -> str:
        cert, key, ca = self._papers
        (self.folder / "keystore.pem").write_text(key.read_text() + cert.read_text())
        plain, sasl = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.sasl_port}"
        login = (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{KAFKA_USER}="{KAFKA_PASSWORD}";'
        )
        return (
            super()
            ._properties()
            .replace("PLAINTEXT://", "SSL://")
            .replace(f"SSL://{plain}", f"SSL://{plain},SASL_SSL://{sasl}")
            .replace("PLAINTEXT:PLAINTEXT", "SSL:SSL,SASL_SSL:SASL_SSL")
            + f"""
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location={self.folder}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={ca}
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={login}
"""
        )
