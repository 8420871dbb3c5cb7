"""Devices of no SDK with a lying node: what a lie does is seen without anybody who defends against it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from scripts.nodes import Alone
from tests.client import Device, Node
from tests.hostile_node.proxy import Proxy, serving
from tests.line import Line


@dataclass
class Raw:
    """Two of them: `ann` behind the proxy, `bo` at the node; `chat` is theirs."""

    proxy: Proxy
    ann: Device
    bo: Device
    chat: str

    async def say(self, text: bytes) -> None:
        """Bo to Ann."""
        await self.bo.post(self.chat, self.ann, text)

    async def collect(self, count: int) -> list[tuple[str, str | None, bytes]]:
        """So many entries, over a socket: sender, conversation and content of the envelopes among them."""
        line = await Line.live(self.ann)
        await line.seen(count)
        await line.close()
        found = [each for each in self.ann.seen if "content" in each]
        return [(each["senderId"], each["conversationId"], each["content"]) for each in found]


@asynccontextmanager
async def two(alone: Alone, http: aiohttp.ClientSession) -> AsyncIterator[Raw]:
    """Both with keys and a direct conversation."""
    async with serving(alone.url, seed=1) as proxy:
        ann = await Node(http, proxy.url, alone.otp_file).sign_up()
        bo = await Node(http, alone.url, alone.otp_file).sign_up()
        chat = await ann.open_direct(bo)
        await ann.collect()
        yield Raw(proxy, ann, bo, chat)
