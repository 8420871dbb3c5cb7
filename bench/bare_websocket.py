"""A bare aiohttp WebSocket server that reads and drops: what an idle socket costs before anybody gives it a meaning."""

import argparse

from aiohttp import web


async def serve_socket(request: web.Request) -> web.WebSocketResponse:
    """Hold one socket until it ends."""
    ws = web.WebSocketResponse(protocols=("vyry.v1.msgpack",), compress=False, heartbeat=20)
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    app = web.Application()
    app.router.add_get("/api/v1/ws", serve_socket)
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, access_log=None, print=None)


if __name__ == "__main__":
    main()
