"""The settings of attachments: where their bytes are stored, how many, and for how long."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from vyry.kernel.url_safety import is_confidential
from vyry.settings.secret_files import secret_problems


_S3: Final = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[A-Za-z0-9._/-]*[A-Za-z0-9_-]))?/?"
)


def _check_location(value: str) -> str:
    if "://" in value and not _S3.fullmatch(value):
        raise ValueError("must be a folder, or s3://BUCKET or s3://BUCKET/PREFIX")
    return value


def _endpoint(value: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@\s]+/?", value) or not urlsplit(value).hostname:
        raise ValueError("must be an address such as https://s3.example.org")
    return value.rstrip("/")


class AttachmentSettings(BaseSettings):
    """The storage and the limits of attachments."""

    #: A folder that all nodes share, or s3://BUCKET/PREFIX; default: `attachments` in the data folder.
    attachments: Annotated[str, AfterValidator(_check_location)] = ""
    #: The address of an S3 service other than Amazon's.
    s3_endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    s3_region: str = Field("us-east-1", pattern=r"^[A-Za-z0-9-]{1,64}$")
    s3_access_key: str | None = None
    #: The file with the secret of the access key.
    s3_secret_file: Path | None = None
    #: The most of one attachment, and of all of an account.
    attachment_mib: int = Field(100, ge=1, le=4096)
    attachment_quota_mib: int = Field(1024, ge=1, le=1 << 30)
    #: The life of a complete attachment.
    attachment_days: int = Field(30, ge=1, le=3650)
    #: Space of the disk that is left for the database and the logs.
    attachment_reserve_mib: int = Field(256, ge=0, le=1 << 30)

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix, or None for a folder."""
        found = _S3.fullmatch(self.attachments)
        return (found["bucket"], found["prefix"] or "") if found else None

    @property
    def s3_secret(self) -> str:
        """The secret of the access key."""
        return self.s3_secret_file.read_text(encoding="utf-8").strip() if self.s3_secret_file else ""


def attachment_conflicts(settings: AttachmentSettings) -> Iterator[str]:
    """A line for each setting of attachments that does not go with the others."""
    if settings.bucket is None:
        return
    if settings.s3_access_key is None or settings.s3_secret_file is None:
        yield "VYRY_ATTACHMENTS names an S3: set VYRY_S3_ACCESS_KEY, put its secret into a file (mode 0600) and name that by VYRY_S3_SECRET_FILE."
        return
    yield from secret_problems("VYRY_S3_SECRET_FILE", lambda: settings.s3_secret)


def unsafe_attachment_settings(settings: AttachmentSettings) -> Iterator[str]:
    """A line for each setting of attachments that production may not have."""
    if settings.bucket and settings.s3_endpoint and not is_confidential(settings.s3_endpoint):
        yield "VYRY_S3_ENDPOINT is not encrypted, and what signs its requests could be replayed: production needs https://..."
