"""What a device says to the node's tus routes, by hand."""

import asyncio
import json
from collections.abc import AsyncIterable
from dataclasses import dataclass
from io import BytesIO
from typing import TypeAlias

from multidict import CIMultiDictProxy

from tests.client import Device


TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}
ALL = "/api/v1/attachments"
Content: TypeAlias = bytes | AsyncIterable[bytes] | None
INVENTED = f"{ALL}/0198c2d4-7a00-7000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code."""
        return str(json.loads(self.body)["error_code"])


async def ask(device: Device, method: str, path: str, data: Content = None, **headers: str) -> Said:
    """One request with the device's token. In the name of a header _ is a hyphen; an empty one is left out."""
    sent = TUS | {name.replace("_", "-"): text for name, text in headers.items()}
    sent = {name: text for name, text in sent.items() if text} | {"Authorization": f"Bearer {device.token}"}
    # aiohttp wants to be handed much as a file.
    body = BytesIO(data) if isinstance(data, bytes) and data else data
    async with device.node.http.request(method, device.node.url + path, data=body, headers=sent) as answer:
        return Said(answer.status, answer.headers, await answer.read())


async def begun(device: Device, length: int = 10) -> str:
    """The path of a new upload."""
    said = await ask(device, "POST", ALL, Upload_Length=str(length))
    assert said.status == 201, said.body
    return said.headers["Location"]


async def add(device: Device, path: str, offset: int, data: Content, **headers: str) -> Said:
    """One PATCH."""
    return await ask(device, "PATCH", path, data, Upload_Offset=str(offset), **(BYTES | headers))


async def whole(device: Device, content: bytes) -> str:
    """The path of an attachment with this content."""
    path = await begun(device, len(content))
    said = await add(device, path, 0, content)
    assert said.status == 204, said.body
    return path


async def offset(device: Device, path: str) -> int:
    """How far the upload is."""
    return int((await ask(device, "HEAD", path)).headers["Upload-Offset"])


async def reached(device: Device, path: str, at_least: int) -> int:
    """How far the upload is, once it is that far."""
    for _ in range(2000):
        if (at := await offset(device, path)) >= at_least:
            return at
        await asyncio.sleep(0.01)
    raise TimeoutError
