"""The WebSocket of a device: resumed from the last stored position, acknowledged after each stored page, and reopened whenever it ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

import aiohttp
import msgpack

from vyry import __version__
from vyry.client.errors import ChainBroken, Refused, Unreachable
from vyry.client.store.mailbox_chain import Entry, MailboxPosition, ProcessedPage
from vyry.client.transport.live_signals import LiveSignals
from vyry.client.transport.rest import RestClient
from vyry.client.transport.validation import read_entry, read_object, read_position, read_seconds, read_text, read_uuid
from vyry.kernel.backoff import jittered
from vyry.kernel.sizes import MAX_FRAME_BYTES


FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 30.0
#: Seconds of silence until the connection is checked: the node pings every 20 s.
HEARTBEAT_SECONDS: Final = 25.0
#: Seconds for a connection to be made.
CONNECT_SECONDS: Final = 30.0
#: Seconds between pings: the node closes after 30 s of silence, which a page on a slow line may take.
_PING_SECONDS: Final = 10.0
_LOG: Final = logging.getLogger("vyry.client")
_TOKEN_ENDED: Final = 4401
#: The longest wait that a node may ask for.
MAX_RECONNECT_SECONDS: Final = 600.0
_CLOSED_TYPES: Final = (
    aiohttp.WSMsgType.CLOSE,
    aiohttp.WSMsgType.CLOSING,
    aiohttp.WSMsgType.CLOSED,
    aiohttp.WSMsgType.ERROR,
)


@dataclass(frozen=True, slots=True)
class MailboxHandlers:
    """What the device does with its mailbox: `position` to resume from; `on_welcome` with the last post that the node accepted; `on_drained` when all waiting mail has arrived; `process_page` stores a page of entries and returns what to acknowledge; `adopt_position` continues at another position of the node."""

    position: Callable[[], MailboxPosition]
    on_welcome: Callable[[UUID | None], Awaitable[None]]
    on_drained: Callable[[], Awaitable[None]]
    process_page: Callable[[Sequence[Entry]], Awaitable[ProcessedPage]]
    adopt_position: Callable[[MailboxPosition], Awaitable[None]]


class Connection:
    """Keeps a device connected."""

    def __init__(self, rest: RestClient, mailbox: MailboxHandlers, live: LiveSignals) -> None:
        self._rest = rest
        self._mailbox = mailbox
        self._live = live
        self._frame_number = 0
        #: The wait that the node asked for; None where this device decides.
        self._reconnect_after: float | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        #: The node has welcomed the present connection.
        self._has_resumed = False
        #: Set while everything that waited on the node has arrived.
        self.is_drained = asyncio.Event()
        #: Set after the first welcome frame.
        self.is_welcomed = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled. Raises ChainBroken, SessionEnded."""
        wait = FIRST_WAIT
        while True:
            token = self._rest.access_token()
            self._reconnect_after = None
            try:
                code = await self._run_connection(token)
                wait = FIRST_WAIT
            except aiohttp.WSServerHandshakeError as refused:
                _LOG.info("socket handshake refused: %s", refused.status)
                self._reconnect_after = _retry_after(refused)
                code = _TOKEN_ENDED if refused.status == 401 else 0
            except (aiohttp.ClientError, OSError, TimeoutError, Unreachable) as lost:
                _LOG.info("socket connection failed: %s", type(lost).__name__)
                code = 0
            self._live.detach()
            self.is_drained.clear()
            if code == _TOKEN_ENDED:
                with suppress(Unreachable):
                    await self._rest.renew_token(token)
            asked = self._reconnect_after
            await asyncio.sleep(jittered(wait, 0.5, 1.5) if asked is None else asked)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _run_connection(self, token: str) -> int:
        """One connection, to its end; returns the close code."""
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await self._rest.http.ws_connect(
                f"{self._rest.url}/api/v1/ws",
                headers={"Authorization": f"Bearer {token}"},
                protocols=["vyry.v1.msgpack"],
                max_msg_size=MAX_FRAME_BYTES + 1,
                heartbeat=HEARTBEAT_SECONDS,
            )
        self._socket, self._has_resumed = socket, False
        try:
            await self._send_hello(socket)
            await self._live.attach(partial(self._send_frame, socket))
            async for message in socket:
                if message.type in _CLOSED_TYPES:
                    break
                await self._dispatch(socket, *self._read(message.data))
        finally:
            self._socket = None
            await socket.close()
        _LOG.info("socket closed by the node: %s", socket.close_code)
        return socket.close_code or 0

    async def keep_alive(self) -> None:
        """Ping the node every few seconds, also while a long page arrives, until cancelled."""
        while True:
            await asyncio.sleep(_PING_SECONDS)
            if self._socket is not None:
                with suppress(ConnectionError, aiohttp.ClientError):
                    await self._socket.ping()

    def _read(self, data: object) -> tuple[str, dict[str, Any]]:
        """Type and payload of a frame. Raises Unreachable for an invalid one."""
        with self._rest.validated_response():
            if not isinstance(data, bytes):
                raise TypeError("no bytes")
            frame = read_object(msgpack.unpackb(data))
            return read_text(frame["type"]), read_object(frame["payload"])

    async def _dispatch(self, socket: aiohttp.ClientWebSocketResponse, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "entries":
                await self._receive_entries(socket, payload)
            case "welcome":
                with self._rest.validated_response():
                    last_id = payload.get("lastMessageId")
                    message_id = None if last_id is None else read_uuid(last_id)
                await self._mailbox.on_welcome(message_id)
                _LOG.info("connected to %s", self._rest.url)
                self._has_resumed = True
                self.is_welcomed.set()
            case "drained":
                await self._mailbox.on_drained()
                self.is_drained.set()
            case "goodbye":
                with self._rest.validated_response():
                    self._reconnect_after = read_seconds(payload["retryAfterSeconds"], most=MAX_RECONNECT_SECONDS)
            case "refused":
                await self._handle_refusal(socket, payload)
            case _:
                self._live.receive_frame(kind, payload)

    async def _handle_refusal(self, socket: aiohttp.ClientWebSocketResponse, payload: dict[str, Any]) -> None:
        refused = Refused(409, payload)
        if refused.code == "STALE_HEAD":
            await self._resolve_stale_head(refused)
            await self._send_hello(socket)
        elif refused.code == "UNAVAILABLE" and not self._has_resumed:
            # The hello was refused: many devices connect at once, and this one is given its turn.
            with self._rest.validated_response():
                asked = read_seconds(payload["retry_after_seconds"], most=MAX_RECONNECT_SECONDS)
            self._reconnect_after = asked
            await socket.close()

    async def _receive_entries(self, socket: aiohttp.ClientWebSocketResponse, payload: dict[str, Any]) -> None:
        with self._rest.validated_response():
            entries = list(map(read_entry, payload["entries"]))
        page = await self._mailbox.process_page(entries)
        for seq, reason in page.discarded:
            await self._send_frame(socket, "park", {"seq": seq, "reason": reason})
        position = page.position
        await self._send_frame(socket, "acknowledge", {"seq": position.seq, "head": position.head})

    async def _send_hello(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        position = self._mailbox.position()
        hello = {"after": position.seq, "head": position.head if position.seq else None}
        await self._send_frame(socket, "hello", {**hello, "client": {"name": "vyry-python", "version": __version__}})

    async def _resolve_stale_head(self, refused: Refused) -> None:
        """The positions of the node and this device differ: one of them was restored, or the node reports false data."""
        position = read_position(refused.body.get("cursor"))
        if position is None or position.seq == self._mailbox.position().seq:
            raise ChainBroken(
                "The mailbox position on the node does not match the one stored on this device."
            ) from refused
        await self._mailbox.adopt_position(position)

    async def _send_frame(self, socket: aiohttp.ClientWebSocketResponse, name: str, payload: dict[str, Any]) -> None:
        self._frame_number += 1
        await socket.send_bytes(msgpack.packb({"type": name, "id": str(self._frame_number), "payload": payload}))


def _retry_after(refused: aiohttp.WSServerHandshakeError) -> float | None:
    """The wait that a refused handshake asks for, a little spread; None if it names none."""
    asked = refused.headers.get("Retry-After", "") if refused.headers else ""
    if not (asked.isascii() and asked.isdigit() and int(asked[:9]) <= MAX_RECONNECT_SECONDS):
        return None
    return jittered(float(asked), 1.0, 1.25)
