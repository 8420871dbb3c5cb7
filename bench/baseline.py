"""The floor: the smallest aiohttp + asyncpg server that commits an envelope before it acknowledges it, then pushes it to the receiver's socket.

It speaks the frames of Vyry, and nothing else of it: the token is the user id, nobody is checked, nothing is numbered in the database, retried,
chained, resumed, expired, limited or deleted. One statement stores whatever came while the last one ran.
"""

import argparse
import asyncio
import itertools
from contextlib import suppress

import asyncpg
import msgpack
import orjson
from aiohttp import WSMsgType, web


Frame = dict[str, object]
TABLE = "CREATE TABLE IF NOT EXISTS floor(id bigint PRIMARY KEY, receiver text NOT NULL, body bytea NOT NULL)"
INSERT = "INSERT INTO floor(id, receiver, body) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])"


class ConnectedSocket:
    """One connected socket."""

    def __init__(self, ws: web.WebSocketResponse, user: str) -> None:
        self.ws = ws
        self.user = user
        self.seq = 0
        self.is_json = ws.ws_protocol == "vyry.v1.json"

    async def send(self, frame: Frame) -> None:
        """Write one frame; a peer that is gone gets nothing."""
        with suppress(ConnectionError):
            if self.is_json:
                await self.ws.send_str(orjson.dumps(frame).decode())
            else:
                await self.ws.send_bytes(msgpack.packb(frame))


class BaselineServer:
    """The whole server."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._peers: dict[str, ConnectedSocket] = {}
        self._waiting: list[tuple[ConnectedSocket, Frame]] = []
        self._wake = asyncio.Event()

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one socket until it ends."""
        ws = web.WebSocketResponse(protocols=("vyry.v1.msgpack", "vyry.v1.json"), compress=False, max_msg_size=1 << 18)
        await ws.prepare(request)
        peer = ConnectedSocket(ws, request.headers["Authorization"].removeprefix("Bearer "))
        self._peers[peer.user] = peer
        async for message in ws:
            frame = orjson.loads(message.data) if message.type is WSMsgType.TEXT else msgpack.unpackb(message.data)
            if frame["type"] == "post":
                self._waiting.append((peer, frame))
                self._wake.set()
            elif frame["type"] == "hello":
                peer.seq = frame["payload"]["after"]
                await peer.send(
                    {"type": "welcome", "ref": frame["id"], "payload": {"cursor": {"seq": 0, "head": None}}}
                )
                await peer.send({"type": "drained", "payload": {"seq": 0}})
        if self._peers.get(peer.user) is peer:
            del self._peers[peer.user]
        return ws

    async def commit_batches(self) -> None:
        """Commit what waits, then tell both sides; for ever."""
        connection = await asyncpg.connect(self._database_url)
        await connection.execute(TABLE)
        await connection.execute("TRUNCATE floor")
        statement = await connection.prepare(INSERT)
        numbers = itertools.count(1)
        while await self._wake.wait():
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            receivers = [_receiver(frame) for _, frame in batch]
            ids = [next(numbers) for _ in batch]
            await statement.fetch(ids, [user for user, _ in receivers], [_bytes(content) for _, content in receivers])
            await self._deliver(batch, receivers)

    async def _deliver(self, batch: list[tuple[ConnectedSocket, Frame]], receivers: list[tuple[str, object]]) -> None:
        entries: dict[str, list[Frame]] = {}
        for (sender, frame), (user, content) in zip(batch, receivers, strict=True):
            post = frame["payload"]
            assert isinstance(post, dict)
            await sender.send({"type": "accepted", "ref": frame["id"], "payload": {"messageId": post["messageId"]}})
            if receiver := self._peers.get(user):
                receiver.seq += 1
                entry = {"seq": receiver.seq, "head": None, "messageId": post["messageId"], "content": content}
                entries.setdefault(user, []).append(entry)
        for user, batch_of_user in entries.items():
            await self._peers[user].send({"type": "entries", "payload": {"entries": batch_of_user}})


def _receiver(frame: Frame) -> tuple[str, object]:
    match frame:
        case {"payload": {"recipients": [{"userId": str(user), "devices": [{"content": content}]}]}}:
            return user, content
        case _:
            raise ValueError(frame)


def _bytes(content: object) -> bytes:
    return content if isinstance(content, bytes) else str(content).encode()


async def serve(database_url: str, port: int) -> None:
    """Serve on loopback until cancelled."""
    floor = BaselineServer(database_url)
    app = web.Application()
    app.router.add_get("/api/v1/ws", floor.socket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await floor.commit_batches()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.database_url, arguments.port))


if __name__ == "__main__":
    main()
