"""A body that arrives in pieces is read whole, up to a limit."""

import asyncio

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from vyry.kernel.http_bodies import read_at_most


async def test_a_body_in_pieces_is_read_whole_and_a_longer_one_up_to_the_limit() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(5):
            await response.write(b"12345678")
            await asyncio.sleep(0.01)  # Each piece leaves on its own.
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        found = []
        for limit in (100, 40, 20):
            async with http.get(server.make_url("/")) as response:
                found.append(await read_at_most(response.content, limit))

    assert found == [b"12345678" * 5, b"12345678" * 5, b"12345678" * 2 + b"1234"]
