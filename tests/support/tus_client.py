"""What a device says to the node's tus routes, by hand."""

import asyncio
import json
from collections.abc import AsyncIterable
from dataclasses import dataclass
from io import BytesIO
from typing import TypeAlias

from multidict import CIMultiDictProxy

from tests.support.rest_device import Device


TUS_HEADERS = {"Tus-Resumable": "1.0.0"}
OCTET_STREAM_HEADERS = {"Content-Type": "application/offset+octet-stream"}
UPLOADS_PATH = "/api/v1/attachments"
Content: TypeAlias = bytes | AsyncIterable[bytes] | None
UNKNOWN_UPLOAD = f"{UPLOADS_PATH}/0198c2d4-7a00-7000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class TusResponse:
    """An answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code."""
        return str(json.loads(self.body)["error_code"])


async def send_request(device: Device, method: str, path: str, data: Content = None, **headers: str) -> TusResponse:
    """One request with the device's token. In the name of a header _ is a hyphen; an empty one is left out."""
    sent = TUS_HEADERS | {name.replace("_", "-"): text for name, text in headers.items()}
    sent = {name: text for name, text in sent.items() if text} | {"Authorization": f"Bearer {device.token}"}
    # aiohttp wants to be handed much as a file.
    body = BytesIO(data) if isinstance(data, bytes) and data else data
    async with device.node.http.request(method, device.node.url + path, data=body, headers=sent) as answer:
        return TusResponse(answer.status, answer.headers, await answer.read())


async def create_upload(device: Device, length: int = 10) -> str:
    """The path of a new upload."""
    said = await send_request(device, "POST", UPLOADS_PATH, Upload_Length=str(length))
    assert said.status == 201, said.body
    return said.headers["Location"]


async def append_bytes(device: Device, path: str, offset: int, data: Content, **headers: str) -> TusResponse:
    """One PATCH."""
    return await send_request(
        device, "PATCH", path, data, Upload_Offset=str(offset), **(OCTET_STREAM_HEADERS | headers)
    )


async def upload_file(device: Device, content: bytes) -> str:
    """The path of an attachment with this content."""
    path = await create_upload(device, len(content))
    said = await append_bytes(device, path, 0, content)
    assert said.status == 204, said.body
    return path


async def upload_offset(device: Device, path: str) -> int:
    """How far the upload is."""
    return int((await send_request(device, "HEAD", path)).headers["Upload-Offset"])


async def wait_for_offset(device: Device, path: str, at_least: int) -> int:
    """How far the upload is, once it is that far."""
    for _ in range(2000):
        if (at := await upload_offset(device, path)) >= at_least:
            return at
        await asyncio.sleep(0.01)
    raise TimeoutError
