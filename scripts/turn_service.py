"""A TURN server for tests: coturn, which asks nobody but the secret it shares with nodes."""

from collections.abc import Sequence
from pathlib import Path

from scripts.services import Server, find_program


SECRET = "only-for-tests-of-turn"


class Coturn(Server):
    """One server on the loopback, with UDP and TCP on the same port."""

    name = "coturn"

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=udp"

    def environment(self) -> dict[str, str]:
        """The settings of a node whose calls it relays."""
        secret = self.folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text(SECRET)
        return {"VYRY_TURN_URLS": self.url, "VYRY_TURN_SECRET_FILE": str(secret)}

    def _prepare(self) -> None:
        (self.folder / "turn.conf").write_text(self._settings())

    def _command(self) -> Sequence[str | Path]:
        return [find_program("turnserver"), "-c", "turn.conf"]

    def _settings(self) -> str:
        return f"""
listening-ip=127.0.0.1
relay-ip=127.0.0.1
listening-port={self.port}
use-auth-secret
static-auth-secret={SECRET}
realm=vyry.test
allow-loopback-peers
no-tls
no-dtls
no-cli
pidfile={self.folder}/pid
userdb={self.folder}/turndb
log-file=stdout
"""
