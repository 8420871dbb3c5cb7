"""The settings of monitoring: the operator's listener."""

from collections.abc import Iterator
from pathlib import Path

from pydantic_settings import BaseSettings

from vyry.settings.secret_files import secret_problems
from vyry.settings.types import MIN_SECRET, Port


class MonitoringSettings(BaseSettings):
    """The operator's listener."""

    #: Metrics, readiness and the operator's page; a second process on the host takes the next free port.
    admin_host: str = "127.0.0.1"
    admin_port: Port = 8001
    #: The file with the token of the operator's page and the metrics; without it other machines get no page.
    admin_token_file: Path | None = None

    @property
    def admin_token(self) -> str:
        """The token of the operator's listener, or empty."""
        return self.admin_token_file.read_text(encoding="utf-8").strip() if self.admin_token_file else ""


def monitoring_conflicts(settings: MonitoringSettings) -> Iterator[str]:
    """A line if the token cannot be used."""
    if settings.admin_token_file is not None:
        yield from secret_problems("VYRY_ADMIN_TOKEN_FILE", lambda: settings.admin_token, MIN_SECRET)
