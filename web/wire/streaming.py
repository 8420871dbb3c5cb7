"""Bodies that pass through in pieces, so that their size costs no memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from vyry.errors import InvalidRequest
from vyry.telemetry import ATTACHMENT_BYTES
from web.app_keys import TIMEOUTS
from web.wire.strict import send_continue


#: So much has to come within `Patience.piece`.
_CHUNK_BYTES: Final = 64 << 10


async def read_chunks(request: web.Request) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises InvalidRequest when it breaks off, or comes so slowly that it holds a place in vain."""
    patience, clock = request.app[TIMEOUTS], asyncio.get_running_loop().time
    await send_continue(request)
    came, since = 0, clock()
    try:
        while chunk := await asyncio.wait_for(request.content.readany(), patience.body):
            ATTACHMENT_BYTES.labels("in").inc(len(chunk))
            yield chunk
            came += len(chunk)
            if came >= _CHUNK_BYTES:
                came, since = 0, clock()
            elif clock() - since > patience.chunk:
                raise InvalidRequest("The body comes too slowly.")
    except TimeoutError:
        raise InvalidRequest("The body did not arrive in time.") from None
    except (HttpProcessingError, ConnectionError):
        raise InvalidRequest("The body is not framed as HTTP wants it, or broke off.") from None


async def send_stream(
    request: web.Request, response: web.StreamResponse, content: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Answer with bytes of a known length. What goes wrong with the first of them is refused as ever; later the connection breaks off."""
    async with aclosing(content):
        begun = await anext(content, b"")
        await response.prepare(request)
        try:
            await response.write(begun)
            async for piece in content:
                await response.write(piece)
            ATTACHMENT_BYTES.labels("out").inc(response.content_length or 0)
            await response.write_eof()
        except ConnectionError:
            # The client has left, or took nothing for too long.
            return response
        except BaseException:
            if request.transport is not None:
                request.transport.abort()
            raise
    return response


async def send_json_stream(request: web.Request, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Answer with JSON that comes in pieces.

    Whatever goes wrong with the first two is refused as ever; later the connection breaks off, so that nobody takes half an answer for a whole one.
    """
    async with aclosing(pieces):
        begun = [await anext(pieces), await anext(pieces)]
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            await response.write(b"".join(begun))
            async for piece in pieces:
                await response.write(piece)
        except ConnectionError:
            # The client has left, or took nothing for too long.
            return response
        except BaseException:
            if request.transport is not None:
                request.transport.abort()
            raise
        await response.write_eof()
    return response
