"""The settings of calls: the TURN server that relays them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings

from vyry.settings.secret_files import secret_problems
from vyry.settings.types import split_matching


_URL: Final = r"(turns?|stuns?):[^\s/?#@,]+(\?transport=(udp|tcp))?"
MIN_SECRET: Final = 16


def _urls(value: object) -> object:
    return split_matching(
        value, _URL, "must be addresses such as turn:turn.example.org:3478?transport=udp, separated by commas"
    )


class CallSettings(BaseSettings):
    """The TURN server."""

    turn_urls: Annotated[tuple[str, ...], BeforeValidator(_urls)] = ()
    #: The file with the `static-auth-secret` of the TURN server.
    turn_secret_file: Path | None = None
    #: The life of credentials.
    turn_seconds: int = Field(86_400, ge=60, le=604_800)

    @property
    def turn_secret(self) -> bytes:
        """The secret shared with the TURN server, or empty."""
        return self.turn_secret_file.read_bytes().strip() if self.turn_secret_file else b""


def call_conflicts(settings: CallSettings) -> Iterator[str]:
    """A line for each setting of calls that does not go with the others."""
    if bool(settings.turn_urls) != (settings.turn_secret_file is not None):
        yield "VYRY_TURN_URLS and VYRY_TURN_SECRET_FILE belong together: set both, or neither."
        return
    if settings.turn_urls:
        yield from secret_problems("VYRY_TURN_SECRET_FILE", lambda: settings.turn_secret, MIN_SECRET)
