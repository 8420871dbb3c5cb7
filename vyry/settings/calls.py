"""The settings of calls, part of `Settings` (settings.py): the TURN server that relays them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings


_URL: Final = r"(turns?|stuns?):[^\s/?#@,]+(\?transport=(udp|tcp))?"
MIN_SECRET: Final = 16


def _urls(value: object) -> object:
    urls = tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    if isinstance(urls, tuple) and not all(re.fullmatch(_URL, url) for url in urls):
        raise ValueError("must be addresses such as turn:turn.example.org:3478?transport=udp, separated by commas")
    return urls


class CallSettings(BaseSettings):
    """How calls find a way."""

    turn_urls: Annotated[tuple[str, ...], BeforeValidator(_urls)] = ()
    #: Holds the `static-auth-secret` of the TURN server.
    turn_secret_file: Path | None = None
    #: How long credentials are good.
    turn_seconds: int = Field(86_400, ge=60, le=604_800)

    @property
    def turn_secret(self) -> bytes:
        """The secret shared with the TURN server; empty where there is none."""
        return self.turn_secret_file.read_bytes().strip() if self.turn_secret_file else b""


def call_conflicts(settings: CallSettings) -> Iterator[str]:
    """A line for each setting of calls that does not go with the others."""
    if bool(settings.turn_urls) != (settings.turn_secret_file is not None):
        yield "VYRY_TURN_URLS and VYRY_TURN_SECRET_FILE belong together: set both, or neither."
        return
    try:
        secret = settings.turn_secret
    except OSError as error:
        yield f"VYRY_TURN_SECRET_FILE cannot be read: {type(error).__name__}."
        return
    if settings.turn_urls and len(secret) < MIN_SECRET:
        yield f"VYRY_TURN_SECRET_FILE holds less than {MIN_SECRET} characters: it is no secret."
