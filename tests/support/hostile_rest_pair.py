"""Two devices without the SDK at a hostile node: they show what a lie does when no client checks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from scripts.nodes import AllInOneProcess
from tests.hostile_node.proxy import Proxy, open_proxy
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import Device, NodeClient


@dataclass
class RestPair:
    """Two of them: `ann` behind the proxy, `bo` at the node; `chat` is theirs."""

    proxy: Proxy
    ann: Device
    bo: Device
    chat: str

    async def post_text(self, text: bytes) -> None:
        """Bo to Ann."""
        await self.bo.post(self.chat, self.ann, text)

    async def collect(self, count: int) -> list[tuple[str, str | None, bytes]]:
        """So many entries, over a socket: sender, conversation and content of the envelopes among them."""
        line = await DeviceSocket.connect_and_resume(self.ann)
        await line.wait_for_entries(count)
        await line.close()
        found = [each for each in self.ann.received if "content" in each]
        return [(each["senderId"], each["conversationId"], each["content"]) for each in found]


@asynccontextmanager
async def open_rest_pair(alone: AllInOneProcess, http: aiohttp.ClientSession) -> AsyncIterator[RestPair]:
    """Both with keys and a direct conversation."""
    async with open_proxy(alone.url, seed=1) as proxy:
        ann = await NodeClient(http, proxy.url, alone.otp_file).sign_up()
        bo = await NodeClient(http, alone.url, alone.otp_file).sign_up()
        chat = await ann.open_direct(bo)
        await ann.collect()
        yield RestPair(proxy, ann, bo, chat)
