"""Parts of attachments in S3, BUCKET/PREFIX/ID/PART, each an object that is put once.

An object exists as a whole or not at all, and any node can continue any upload: no multipart uploads remain, and no node needs a disk.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from vyry.attachments.attachment import AttachmentId
from vyry.errors import Unavailable
from vyry.outage import OutageTracker


#: The time-out and the retries of a request.
_SECONDS: Final = timedelta(seconds=20)
_RETRIES: Final = 2
#: Objects of one page of a listing.
_STEP: Final = 1_000


class S3Parts:
    """PartStore in a bucket."""

    piece_bytes = 1 << 20

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._outage = OutageTracker("attachments")

    async def check_capacity(self, length: int) -> None:
        """S3 has no limit."""

    async def put(self, attachment_id: AttachmentId, name: str, content: bytes | bytearray) -> None:
        async with self._s3_guard():
            await obstore.put_async(self._store, f"{attachment_id}/{name}", content, use_multipart=False)

    async def read(self, attachment_id: AttachmentId, name: str, start: int, length: int) -> bytes:
        async with self._s3_guard():
            content = await obstore.get_range_async(self._store, f"{attachment_id}/{name}", start=start, length=length)
        if len(content) != length:
            raise Unavailable("The stored attachment data is missing.")
        return content.to_bytes()

    async def drop(self, attachment_id: AttachmentId, names: Collection[str]) -> None:
        async with self._s3_guard():
            if names:
                await obstore.delete_async(self._store, [f"{attachment_id}/{name}" for name in names])

    async def clear(self, attachment_id: AttachmentId, keep: Collection[str] = ()) -> None:
        async with self._s3_guard():
            async for page in obstore.list(self._store, f"{attachment_id}"):
                names = {each["path"].rpartition("/")[2] for each in page}
                await self.drop(attachment_id, names - set(keep))

    async def list_attachments(self, after: str) -> tuple[Collection[AttachmentId], str]:
        ids, place = set(), ""
        async with self._s3_guard():
            pages = obstore.list(self._store, offset=after or None, chunk_size=_STEP)
            async for page in pages:
                place = page[-1]["path"] if len(page) == _STEP else ""
                for each in page:
                    with suppress(ValueError):
                        ids.add(AttachmentId(UUID(each["path"].partition("/")[0])))
                break
        return ids, place

    @asynccontextmanager
    async def _s3_guard(self) -> AsyncIterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Unavailable("The stored attachment data is missing.") from error
        except (BaseError, OSError) as error:
            wait = self._outage.record_failure(error)
            # The cause contains addresses of the operator, so it is not chained.
            raise Unavailable("Attachment storage is unavailable.", max(1, round(wait))) from None
        self._outage.record_success()


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and its credentials; Amazon S3 without an endpoint."""

    bucket: str
    prefix: str
    region: str
    access_key: str
    secret: str = field(repr=False)
    endpoint: str | None = None


def open_s3_parts(place: S3Location) -> S3Parts:
    """Open the store."""
    is_plain = place.endpoint is not None and place.endpoint.startswith("http://")
    store = S3Store(
        place.bucket,
        prefix=place.prefix or None,
        config={"endpoint": place.endpoint} if place.endpoint else None,
        region=place.region,
        access_key_id=place.access_key,
        secret_access_key=place.secret,
        virtual_hosted_style_request=place.endpoint is None,
        client_options={"allow_http": is_plain, "timeout": _SECONDS},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _SECONDS},
    )
    return S3Parts(store)
