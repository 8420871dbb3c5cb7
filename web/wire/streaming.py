"""An answer that is written while it is made, so that its size costs no memory."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web


async def streamed(request: web.Request, pieces: AsyncGenerator[bytes, None]) -> web.StreamResponse:
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
