"""The socket of a test device: hello, frames with answers, entries taken as they come, and how it ended."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Literal

import aiohttp
import msgpack
import orjson

from tests.support.api_conformance import assert_frame_documented
from tests.support.chain_checker import ChainChecker, to_bytes
from tests.support.device_keys import base64_text
from tests.support.rest_device import Body, Device, OutcomeUnknown, RequestRefused


Codec = Literal["json", "msgpack"]


class DeviceSocket:
    """One connection of a device. Entries go to `device.take`; typing, signal and goodbye frames wait in `heard`."""

    def __init__(self, device: Device, ws: aiohttp.ClientWebSocketResponse, codec: Codec) -> None:
        self.device = device
        self.ws = ws
        self.codec = codec
        self.acknowledges = True
        self.welcome: Body = {}
        self.drained = asyncio.Event()
        self.frames: asyncio.Queue[Body] = asyncio.Queue()
        #: Told of each frame before the device takes it.
        self.on_frame: Callable[[Body], None] = lambda frame: None
        #: What the device found wrong with what it was sent.
        self.fault: Exception | None = None
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Body]] = {}
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, device: Device, url: str | None = None, codec: Codec = "msgpack") -> "DeviceSocket":
        """Connect without hello; to the device's own node unless another is named."""
        return cls(
            device,
            await device.node.http.ws_connect(
                f"{url or device.node.url}/api/v1/ws",
                headers={"Authorization": f"Bearer {device.token}"},
                protocols=[f"vyry.v1.{codec}"],
                max_msg_size=1 << 18,
                autoping=True,
            ),
            codec,
        )

    @classmethod
    async def connect_and_resume(
        cls, device: Device, url: str | None = None, codec: Codec = "msgpack", *, acknowledges: bool = True
    ) -> "DeviceSocket":
        """Connect and say hello from the last point the device has seen. With `acknowledges`, all that comes is acknowledged."""
        line = await cls.connect(device, url, codec)
        line.acknowledges = acknowledges
        try:
            await line.resume()
        except BaseException:
            await line.close()
            raise
        return line

    async def resume(self) -> Body:
        """Resume by (seq, head). Raises Refused (STALE_HEAD) when the node knows better."""
        chain = self.device.chain
        point = {
            "after": chain.seq if chain else 0,
            "head": self.encode_bytes(chain.head) if chain and chain.seq else None,
        }
        return await self.request("hello", **point, client={"name": "tests", "version": "1"})

    async def request(self, kind: str, /, **payload: Any) -> Body:
        """Send a frame and wait for its answer. Raises Refused, or Unclear when the connection ended first."""
        number = str(next(self._ids))
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        if self._reader.done():
            raise OutcomeUnknown("the connection has ended")
        await self.send(kind, number, **payload)
        async with asyncio.timeout(15):
            said: Body = await answer
        return said

    async def send(self, kind: str, number: str | None = None, /, **payload: Any) -> None:
        """Send a frame without waiting."""
        frame = {"type": kind, "id": number or str(next(self._ids)), "payload": payload}
        try:
            if self.codec == "json":
                await self.ws.send_str(orjson.dumps(frame).decode())
            else:
                await self.ws.send_bytes(msgpack.packb(frame))
        except (aiohttp.ClientError, ConnectionError) as lost:
            raise OutcomeUnknown(str(lost)) from lost

    async def wait_for_entries(self, count: int, seconds: float = 20) -> None:
        """Wait until the device has seen that many entries in its life."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: len(self.device.received) >= count or self._reader.done())
        if self.fault is not None:
            raise self.fault
        assert len(self.device.received) >= count, f"the connection ended after {len(self.device.received)} entries"

    async def close(self) -> None:
        """Leave."""
        await self.ws.close()
        await self.wait_closed()

    async def wait_closed(self, seconds: float = 30) -> int | None:
        """Wait for the end; answers the close code. Raises what the device found wrong."""
        done, _ = await asyncio.wait({self._reader}, timeout=seconds)
        if not done:
            raise TimeoutError("the connection still stands")
        if self.fault is not None:
            raise self.fault
        return self.ws.close_code

    def encode_bytes(self, value: bytes) -> bytes | str:
        """Bytes as this subprotocol writes them."""
        return base64_text(value) if self.codec == "json" else value

    async def _read(self) -> None:
        try:
            async for message in self.ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._handle_frame(orjson.loads(message.data))
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await self._handle_frame(msgpack.unpackb(message.data))
        except (ConnectionError, OutcomeUnknown):
            pass
        except Exception as fault:  # noqa: BLE001 - whatever it is, the device says so when asked
            self.fault = fault
            await self.ws.close()
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(OutcomeUnknown("the connection ended"))
                    answer.exception()
            async with self._news:
                self._news.notify_all()

    async def _handle_frame(self, frame: Body) -> None:
        assert_frame_documented(frame)
        self.on_frame(frame)
        kind, payload = frame["type"], frame["payload"]
        if kind == "entries":
            await self._accept_entries(payload["entries"])
        elif kind == "drained":
            self.drained.set()
        elif "ref" in frame:
            self._answer(frame)
        else:
            self.frames.put_nowait(frame)

    async def _accept_entries(self, entries: list[Body]) -> None:
        self.device.accept_entries(entries)
        if self.acknowledges:
            await self.send(
                "acknowledge", seq=entries[-1].get("throughSeq", entries[-1]["seq"]), head=entries[-1]["head"]
            )
        async with self._news:
            self._news.notify_all()

    def _answer(self, frame: Body) -> None:
        payload = frame["payload"]
        if frame["type"] == "welcome":
            self._welcome(payload)
        answer = self._answers.pop(frame["ref"], None)
        if answer is None or answer.done():
            return
        if frame["type"] != "refused":
            answer.set_result(payload)
        elif payload["error_code"] in {"UNAVAILABLE", "INTERNAL_ERROR"}:
            answer.set_exception(OutcomeUnknown(payload["error_code"]))
        else:
            answer.set_exception(RequestRefused(0, payload))

    def _welcome(self, payload: Body) -> None:
        self.welcome = payload
        if self.device.chain is None:
            self.device.chain = ChainChecker(payload["mailboxId"])
            if payload["cursor"]["seq"] == 0:
                assert to_bytes(payload["cursor"]["head"]) == self.device.chain.head
