"""The settings of monitoring: the operator's listener, and where traces go."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from vyry.settings.secret_files import secret_problems
from vyry.settings.types import MIN_SECRET, Port


_TRACES_URL: Final = r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._/-]*)?"


def _check_traces_url(value: str) -> str:
    if not re.fullmatch(_TRACES_URL, value):
        raise ValueError("must be the address of an OTLP receiver such as http://127.0.0.1:4318/v1/traces")
    return value


class MonitoringSettings(BaseSettings):
    """The operator's listener and traces."""

    #: Metrics, readiness and the operator's page; a second process on the host takes the next free port.
    admin_host: str = "127.0.0.1"
    admin_port: Port = 8001
    #: The file with the token of the operator's page and the metrics; without it other machines get no page.
    admin_token_file: Path | None = None
    #: The OTLP receiver of traces; without it nothing is traced.
    traces_url: Annotated[str, AfterValidator(_check_traces_url)] | None = None
    #: The share of posts that are traced.
    traces_share: float = Field(0.01, gt=0, le=1)

    @property
    def admin_token(self) -> str:
        """The token of the operator's listener, or empty."""
        return self.admin_token_file.read_text(encoding="utf-8").strip() if self.admin_token_file else ""


def monitoring_conflicts(settings: MonitoringSettings) -> Iterator[str]:
    """A line if the token cannot be used, or the packages for traces are missing."""
    if settings.traces_url is not None and find_spec("opentelemetry") is None:
        yield "VYRY_TRACES_URL needs the extra `otel`: pip install 'vyry[node,otel]', or unset it."
    if settings.admin_token_file is not None:
        yield from secret_problems("VYRY_ADMIN_TOKEN_FILE", lambda: settings.admin_token, MIN_SECRET)
