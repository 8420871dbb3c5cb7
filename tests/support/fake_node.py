"""A node whose answers about accounts and conversations a test sets, over HTTP: for lists and members that no real node returns."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.protocol_devices import ProtocolDevice
from vyry.client.store.store import Store
from vyry.client.transport.rest import RestClient
from vyry.kernel.base64_text import encode_base64


Body = dict[str, Any]


@dataclass
class FakeNode:
    """`answers` by method and path; everything else is NOT_FOUND. `asked` counts the requests."""

    answers: dict[str, Body] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle_request(self, request: web.Request) -> web.Response:
        """Say it."""
        name = f"{request.method} {request.path.removeprefix('/api/v1')}"
        self.requests.append(name)
        self._news.set()
        if name not in self.answers:
            return web.json_response({"error_code": "NOT_FOUND", "error": "Not found."}, status=404)
        return web.json_response(self.answers[name])

    async def wait_for_request(self, name: str, times: int) -> None:
        """Come back when it was asked this so often."""
        while self.requests.count(name) < times:
            self._news.clear()
            await self._news.wait()

    def set_device_list(self, user_id: UUID, *devices: ProtocolDevice, epoch: int = 1, **changes: Any) -> None:
        """Tell these devices as those of the account, as they sign themselves."""
        rows = [device_row(each) for each in devices]
        identity = encode_base64(devices[0].person.device.identity.public)
        said = {"userId": str(user_id), "identityKey": identity, "suite": "vyry", "epoch": epoch, "devices": rows}
        self.answers[f"GET /keys/{user_id}"] = {**said, **changes}

    def set_conversation(self, conversation_id: UUID, *members: UUID, kind: str = "direct", version: int = 1) -> None:
        """Tell these members."""
        rows = [{"userId": str(each), "role": "member"} for each in members]
        said = {"conversationId": str(conversation_id), "kind": kind, "version": version, "members": rows}
        self.answers[f"GET /conversations/{conversation_id}"] = said


def device_row(device: ProtocolDevice, **changes: Any) -> Mapping[str, Any]:
    """A device as GET /keys/{userId} has it."""
    own = device.person.device
    keys = {"identityDhKey": encode_base64(own.dh.public), "identityDhSignature": encode_base64(own.dh_signature())}
    return {"deviceId": own.address.device_id, "registrationId": own.registration_id, **keys, **changes}


@asynccontextmanager
async def open_fake_node(store: Store) -> AsyncIterator[tuple[FakeNode, RestClient]]:
    """Such a node, and the calls of the store's device to it."""
    node, app = FakeNode(), web.Application()
    app.router.add_route("*", "/{path:.*}", node.handle_request)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        rest = RestClient(http, str(server.make_url("/")), store)
        rest.save_tokens({"accessToken": "a", "refreshToken": "r"})
        yield node, rest
