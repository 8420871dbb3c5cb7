"""The body of an HTTP response, with a limit."""

from aiohttp import StreamReader


async def read_at_most(content: StreamReader, limit: int) -> bytes:
    """The body, or its first `limit` bytes. `StreamReader.read(n)` alone returns what has arrived so far."""
    body = bytearray()
    while len(body) < limit and (part := await content.read(limit - len(body))):
        body += part
    return bytes(body)
