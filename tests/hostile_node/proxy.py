"""The proxy between one device, the victim, and a real node. It passes everything on, keeps what was posted, and lies as it is told.

async with serving(node_url) as proxy:
    ... a client at proxy.url ...
    await proxy.begin(SomeLie())
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from tests.hostile_node.control_api import PREFIX, ControlApi
from tests.hostile_node.lie import Lie
from tests.hostile_node.mailbox import Entries, MailboxPoint, ShownMailbox, VerbatimEntry
from tests.hostile_node.mallory import Mallory, Sealed
from tests.hostile_node.relay import SocketRelay
from tests.hostile_node.victim import Victim
from tests.hostile_node.wire import API, Body, Request, Response, forwarded_headers, json_of
from tests.support.chain_checker import to_bytes
from tests.support.device_keys import base64_text
from vyry.signal_protocol.primitives import Address


_BODY_BYTES: Final = 128 << 20


class Proxy:
    """A lying node for one device. `random` is what its lies draw from."""

    def __init__(self, node_url: str, seed: int | None = None) -> None:
        self.node_url = node_url.rstrip("/")
        self.url = ""
        self.random = Random(seed if seed is not None else secrets.randbits(32))
        self.known = Victim()
        self.mallory = Mallory()
        self.mailbox = ShownMailbox()
        self.lies: list[Lie] = []
        self.switches = ControlApi(self)
        self._relays: set[SocketRelay] = set()
        self._http: aiohttp.ClientSession | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        """What the node is asked with."""
        assert self._http is not None
        return self._http

    async def begin(self, lie: Lie) -> None:
        """Lie in this way from now on."""
        self.lies.append(lie)
        await lie.begin(self)
        await self.flush()

    def end(self, lie: Lie | None = None) -> None:
        """Lie no more in this way, or in any. What was put into the mailbox stays there."""
        self.lies = [each for each in self.lies if lie is not None and each is not lie]

    async def insert(self, *entries: Body | VerbatimEntry) -> None:
        """Put entries into the mailbox of the victim that no node got."""
        for entry in entries:
            self.mailbox.insert(entry)
        await self.flush()

    async def flush(self) -> None:
        """Tell all sockets what the mailbox has."""
        for relay in list(self._relays):
            await relay.flush()

    def receive_entries(self, entries: list[Body]) -> None:
        """The node told these entries: put in what the lies make of them."""
        for entry in entries:
            if self.mailbox.is_new(entry):
                self.known.note_entry(entry)
                self.mailbox.add_node_entry(entry, self._told(entry))

    async def handle_client_request(self, request: Request) -> Response:
        """What the client gets for this request."""
        self._note(request)
        for lie in list(self.lies):
            changed = await lie.request(self, request)
            if isinstance(changed, Response):
                return changed
            request = changed
        answer = await self.ask_node(request)
        self.known.note(request, answer)
        for lie in list(self.lies):
            answer = await lie.answer(self, request, answer)
        return answer

    async def ask_node(self, request: Request) -> Response:
        """What the node itself answers. Raises aiohttp.ClientError when it is away."""
        url = f"{self.node_url}{API}{request.path}{'?' + request.query if request.query else ''}"
        # An empty body is no body: some routes take none.
        data = request.raw or None
        async with self.http.request(request.method, url, data=data, headers=request.headers) as said:
            raw = await said.read()
        return Response(status=said.status, raw=raw, body=json_of(raw), headers=forwarded_headers(said.headers))

    async def call(self, method: str, path: str, body: Body | None = None) -> Body:
        """Ask the node with the victim's token, as the client would; the refusal's body when it refuses."""
        request = Request(method=method, path=path, headers=self.known.headers).with_body(body)
        return (await self.ask_node(request)).body or {}

    def envelope(self, sender: Address, conversation_id: UUID | str, content: bytes, lane: str = "mail") -> Body:
        """An entry that says that this device has written it just now."""
        kind = content[1] if len(content) > 1 else 0
        head = {**_new_id(), "conversationId": str(conversation_id), "lane": lane, "kind": kind}
        return {
            **head,
            "senderId": str(sender.user_id),
            "senderDeviceId": sender.device_id,
            "content": base64_text(content),
        }

    def notice(self, name: str, **fields: object) -> Body:
        """An entry in which the node itself says something."""
        return {**_new_id(), "conversationId": None, "lane": "control", "notice": {"name": name, **fields}}

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """A request of the client."""
        path = request.path.removeprefix(API)
        if request.path.startswith(PREFIX):
            return await self.switches.handle_request(request)
        await self.switches.begin_pending()
        if path == "/ws":
            return await self._socket(request)
        raw = await request.read()
        said = Request(
            method=request.method,
            path=path if request.path.startswith(API) else f"/../..{request.path}",
            query=request.query_string,
            headers=forwarded_headers(request.headers),
            raw=raw,
            body=json_of(raw),
        )
        try:
            answer = await self._answered(said)
        except (aiohttp.ClientError, OSError, TimeoutError):
            answer = Response.refusal(503, "UNAVAILABLE")
        headers = dict(answer.headers)
        return web.Response(status=answer.status, body=answer.raw, headers=headers)

    async def _answered(self, said: Request) -> Response:
        match said.path:
            case "/mailbox" if said.method == "GET":
                return await self._mailbox_page(said)
            case "/mailbox/acknowledge":
                return await self._acknowledged(said)
            case "/mailbox/park":
                return await self._parked(said)
            case _:
                return await self.handle_client_request(said)

    async def _mailbox_page(self, said: Request) -> Response:
        asked = dict(part.partition("=")[::2] for part in said.query.split("&") if part)
        seq, limit = int(asked.get("after", 0)), int(asked.get("limit", 100))
        real = self.mailbox.node_point_at(seq) if self.mailbox.mailbox_id else None
        wait = "0" if real and self.mailbox.entries_after(seq) else asked.get("wait", "0")
        after = max(real.seq, self.mailbox.real.seq) if real else seq
        query = f"after={after}&limit={limit}&wait={wait}"
        answer = await self.handle_client_request(
            Request(method="GET", path="/mailbox", query=query, headers=said.headers)
        )
        if answer.status != 200 or answer.body is None:
            return answer
        self.mailbox.begin(answer.body["mailboxId"])
        self.receive_entries(answer.body["entries"])
        return answer.with_body(self._page(answer.body, seq, limit))

    def _page(self, page: Body, seq: int, limit: int) -> Body:
        real = MailboxPoint(page["cursor"]["seq"], to_bytes(page["cursor"]["head"]))
        cursor = self.mailbox.shown_point_for(real)
        told = self.mailbox.entries_after(max(seq, cursor.seq))
        entries = [each.entry for each in told[:limit]]
        is_drained = page["drained"] and len(told) <= limit
        return {**page, "cursor": cursor.as_json(), "entries": entries, "drained": is_drained}

    async def _acknowledged(self, said: Request) -> Response:
        assert said.body is not None
        real = self.mailbox.acknowledge(said.body["seq"])
        if real.seq == 0:
            return Response.from_body(200, {"cursor": self.mailbox.shown_point_for(real).as_json()})
        answer = await self.handle_client_request(said.with_body(real.as_json()))
        return self._with_cursor(answer)

    def _with_cursor(self, answer: Response) -> Response:
        if answer.body is None or "cursor" not in answer.body:
            return answer
        told = self.mailbox.shown_point_for(
            MailboxPoint(answer.body["cursor"]["seq"], to_bytes(answer.body["cursor"]["head"]))
        )
        return answer.with_body({**answer.body, "cursor": told.as_json()})

    async def _parked(self, said: Request) -> Response:
        assert said.body is not None
        seq = self.mailbox.node_seq(said.body["seq"])
        if seq is None:
            return Response.from_body(200, {})
        return await self.handle_client_request(said.with_body({**said.body, "seq": seq}))

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        relay = SocketRelay(self, request)
        self._relays.add(relay)
        try:
            return await relay.run()
        finally:
            self._relays.discard(relay)

    def _told(self, entry: Body) -> Entries:
        told: Entries = [entry]
        for lie in self.lies:
            more: list[Body | VerbatimEntry] = []
            for each in told:
                more += [each] if isinstance(each, VerbatimEntry) else lie.entries(self, each)
            told = more
        return told

    def _note(self, request: Request) -> None:
        self.known.note_request(request)
        if not request.matches("POST", "/messages") or request.body is None or self.known.victim is None:
            return
        for sealed in posted_copies(self.known.victim, request.body):
            self.mallory.record_copy(sealed)


def posted_copies(sender: Address, post: Body) -> list[Sealed]:
    """Every copy of a post."""
    found = []
    for person in post["recipients"]:
        for device in person["devices"]:
            address = Address(UUID(person["userId"]), device["deviceId"])
            content = to_bytes(device.get("content") or post["content"])
            found.append(Sealed(sender, address, UUID(post["conversationId"]), post["messageId"], content))
    return found


def _new_id() -> Body:
    now = datetime.now(UTC)
    at, until = (
        moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") for moment in (now, now + timedelta(30))
    )
    return {"envelopeId": str(uuid4()), "messageId": str(uuid4()), "postedAt": at, "expiresAt": until}


@asynccontextmanager
async def open_proxy(node_url: str, seed: int | None = None, port: int = 0) -> AsyncIterator[Proxy]:
    """A proxy on the loopback, honest until `begin`."""
    proxy = Proxy(node_url, seed)
    app = web.Application(client_max_size=_BODY_BYTES)
    app.router.add_route("*", "/{tail:.*}", proxy.handle_request)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=60)) as http:
        proxy._http = http
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            for relay in list(proxy._relays):
                with suppress(ConnectionError, asyncio.CancelledError):
                    await relay.close()
            await runner.cleanup()
