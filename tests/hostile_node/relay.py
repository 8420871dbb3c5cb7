"""One socket of the victim and the one to the node behind it: frames pass in order, entries out of the told mailbox, resume points and acknowledgements translated."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from tests.hostile_node.mailbox import MailboxPoint
from tests.hostile_node.wire import API, Body, Request, Response, forwarded_headers, read_frame, write_frame
from tests.support.chain_checker import to_bytes


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy

_FRAME_BYTES = (256 << 10) + 1
_PROTOCOLS = ("vyry.v1.msgpack", "vyry.v1.json")


class SocketRelay:
    """From the upgrade to the close."""

    def __init__(self, proxy: "Proxy", request: web.Request) -> None:
        self._proxy = proxy
        self._request = request
        self._near = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=_FRAME_BYTES)
        self._far: aiohttp.ClientWebSocketResponse | None = None
        #: How much of the mailbox's log was sent; None before the node said welcome.
        self._sent: int | None = None
        self._after = 0
        self._turn = asyncio.Lock()

    async def run(self) -> web.StreamResponse:
        """Pass on until either side ends; a refused upgrade is refused here, too."""
        url = f"{self._proxy.node_url}{API}/ws?{self._request.query_string}".rstrip("?")
        wanted = [each.strip() for each in self._request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        spoken = [each for each in wanted if each in _PROTOCOLS] or ["vyry.v1.json"]
        headers = {name: value for name, value in forwarded_headers(self._request.headers).items() if _is_kept(name)}
        try:
            self._far = await self._proxy.http.ws_connect(
                url, headers=headers, protocols=spoken, max_msg_size=_FRAME_BYTES
            )
        except aiohttp.WSServerHandshakeError as refused:
            return web.Response(status=refused.status)
        except (aiohttp.ClientError, OSError):
            return web.Response(status=503)
        try:
            await self._near.prepare(self._request)
        except ConnectionResetError:
            # The client has gone meanwhile.
            await self._far.close()
            return web.Response(status=503)
        pumps = [asyncio.create_task(self._from_node()), asyncio.create_task(self._from_client())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(pumps)
        return self._near

    async def close(self) -> None:
        """End both."""
        if self._near.prepared:
            await self._near.close(code=1001)
        if self._far is not None:
            await self._far.close()

    async def flush(self) -> None:
        """Send what the mailbox has and the client was not sent yet."""
        async with self._turn:
            if self._sent is None:
                return
            told = self._proxy.mailbox.log[self._sent :]
            self._sent = len(self._proxy.mailbox.log)
            for place in range(0, len(told), 32):
                entries = [each.entry for each in told[place : place + 32]]
                await self._send({"type": "entries", "payload": {"entries": entries}})

    async def _end(self, pumps: list[asyncio.Task[None]]) -> None:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        assert self._far is not None
        code = self._far.close_code
        with suppress(ConnectionError):
            await self._near.close(code=code if code and code != 1006 else 1001)
        await self._far.close()

    async def _from_node(self) -> None:
        assert self._far is not None
        async for message in self._far:
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return
            frame = read_frame(message.data)
            if frame["type"] == "entries":
                self._proxy.receive_entries(frame["payload"]["entries"])
                await self.flush()
                continue
            await self._forward_frame(frame)

    async def _forward_frame(self, frame: Body) -> None:
        mailbox, payload = self._proxy.mailbox, frame["payload"]
        if frame["type"] == "welcome":
            mailbox.begin(payload["mailboxId"])
            self._proxy.known.note_welcome(payload)
        if "cursor" in payload:
            real = MailboxPoint(payload["cursor"]["seq"], to_bytes(payload["cursor"]["head"]))
            payload["cursor"] = mailbox.shown_point_for(real).as_json()
        if frame["type"] == "drained":
            payload["seq"] = mailbox.shown_point.seq
        for lie in list(self._proxy.lies):
            frame = lie.frame(self._proxy, frame)
        await self._send(frame)
        if frame["type"] == "welcome":
            self._sent = mailbox.log_index_after(self._after)
            await self.flush()

    async def _from_client(self) -> None:
        async for message in self._near:
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return
            frame = read_frame(message.data)
            if not await self._handles_locally(frame):
                await self._send_shown(frame)

    async def _handles_locally(self, frame: Body) -> bool:
        """Whether the node need not hear of it; else it is translated in its place."""
        acts = {
            "hello": self._translate_hello,
            "acknowledge": self._acknowledge,
            "park": self._park,
            "post": self._post,
        }
        act, payload = acts.get(str(frame.get("type"))), frame.get("payload")
        return act is not None and isinstance(payload, dict) and await act(frame, payload)

    async def _translate_hello(self, frame: Body, payload: Body) -> bool:
        point = MailboxPoint(payload["after"], to_bytes(payload["head"]) if payload.get("head") else b"")
        real = self._proxy.mailbox.resume(point)
        if real is None:
            refusal = Response.refusal(409, "STALE_HEAD", cursor=self._proxy.mailbox.acknowledged.as_json())
            await self._reply(frame, "refused", refusal.body or {})
            return True
        self._after = point.seq
        payload["after"], payload["head"] = real.seq, real.as_json()["head"] if real.seq else None
        return False

    async def _acknowledge(self, frame: Body, payload: Body) -> bool:
        real = self._proxy.mailbox.acknowledge(payload["seq"])
        if real.seq == 0:
            await self._reply(frame, "acknowledged", {"cursor": payload})
            return True
        payload.update(real.as_json())
        return False

    async def _park(self, frame: Body, payload: Body) -> bool:
        seq = self._proxy.mailbox.node_seq(payload["seq"])
        if seq is None:
            await self._reply(frame, "parked", {})
            return True
        payload["seq"] = seq
        return False

    async def _post(self, frame: Body, payload: Body) -> bool:
        headers = {**self._proxy.known.headers, "Content-Type": "application/json"}
        answer = await self._proxy.handle_client_request(
            Request(method="POST", path="/messages", headers=headers).with_body(payload)
        )
        await self._reply(frame, "accepted" if answer.status == 200 else "refused", answer.body or {})
        return True

    async def _reply(self, frame: Body, kind: str, payload: Body) -> None:
        await self._send({"type": kind, "ref": frame.get("id"), "payload": payload})

    async def _send(self, frame: Body) -> None:
        await _write(self._near, frame, is_text=self._near.ws_protocol != "vyry.v1.msgpack")

    async def _send_shown(self, frame: Body) -> None:
        assert self._far is not None
        await _write(self._far, frame, is_text=self._far.protocol != "vyry.v1.msgpack")


async def _write(socket: Any, frame: Body, *, is_text: bool) -> None:
    written = write_frame(frame, is_text=is_text)
    with suppress(ConnectionError, aiohttp.ClientError):
        await (socket.send_str(written) if isinstance(written, str) else socket.send_bytes(written))


def _is_kept(name: str) -> bool:
    return not name.lower().startswith("sec-websocket")
