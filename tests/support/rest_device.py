"""A test device: it signs up, publishes real keys, posts and collects by REST, and checks every number and head that the node shows it.

Its socket is tests/support/device_socket.py. It trusts nothing of the server's code: the chain is computed in tests/support/chain_checker.py, the keys in tests/support/device_keys.py.
"""

import asyncio
import itertools
import json
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.api_conformance import assert_documented
from tests.support.canaries import note_secrets
from tests.support.chain_checker import ChainChecker, Entry, to_bytes
from tests.support.device_keys import DeviceKeys, base64_text


Body = dict[str, Any]
_numbers = itertools.count(secrets.randbelow(90_000))


class RequestRefused(Exception):
    """The node said no: a definite answer."""

    def __init__(self, status: int, body: Body) -> None:
        super().__init__(f"{status} {body.get('error_code')}: {body.get('error')}")
        self.status = status
        self.body = body
        self.code = body.get("error_code")


class OutcomeUnknown(Exception):
    """No answer came, or one that decides nothing (503, 500): the same request may be made again under the same ids."""


def unused_number() -> str:
    """A valid phone number that no other test of this run uses."""
    return f"+49151{next(_numbers) % 100_000:05d}{secrets.randbelow(1000):03d}"


@dataclass(slots=True)
class NodeClient:
    """Where a device talks to, and where its codes are written (VYRY_SMS=file:PATH)."""

    http: aiohttp.ClientSession
    url: str
    otp_file: Path

    async def call(self, method: str, path: str, body: Body | None = None, token: str | None = None) -> Body:
        """One REST call. Raises Refused, or Unclear when nothing is decided."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        note_secrets(body)
        try:
            async with self.http.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers) as answer:
                content = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as lost:
            raise OutcomeUnknown(str(lost) or type(lost).__name__) from lost
        note_secrets(content)
        assert_documented(method, f"/api/v1{path}", answer.status, content)
        if answer.status >= 500:
            raise OutcomeUnknown(f"{answer.status} {content}")
        if answer.status >= 400:
            raise RequestRefused(answer.status, content)
        return dict(content)

    async def latest_code(self, number: str) -> str:
        """The newest code sent to that number: it is in the file before the node answers."""
        said = [json.loads(line) for line in await asyncio.to_thread(_read_json_lines, self.otp_file)]
        return str([line["otp"] for line in said if line["phoneNumber"] == number][-1])

    async def sign_up(self, number: str | None = None, *, with_keys: bool = True) -> "Device":
        """A device of a new account (or a new primary device of the account of that number), with keys unless told otherwise."""
        number = number or unused_number()
        challenge = await self.call("POST", "/auth/request-otp", {"phoneNumber": number})
        session = await self.call(
            "POST",
            "/auth/verify-otp",
            {
                "challengeId": challenge["challengeId"],
                "otp": await self.latest_code(number),
                "device": {"name": "test phone", "platform": "cli"},
            },
        )
        device = Device(self, number, session)
        if with_keys:
            await device.upload_keys()
        return device


@dataclass(slots=True)
class Device:
    """A signed-in device. `chain` is the last point it has seen, `seen` every entry it took, in order."""

    node: NodeClient
    number: str
    session: Body
    keys: DeviceKeys = field(default_factory=DeviceKeys)
    chain: ChainChecker | None = None
    received: list[Entry] = field(default_factory=list)
    #: What it believes about others: userId -> the answer of GET /keys/{userId}.
    device_lists: dict[str, Body] = field(default_factory=dict)

    @property
    def user_id(self) -> str:
        return str(self.session["userId"])

    @property
    def device_id(self) -> int:
        return int(self.session["deviceId"])

    @property
    def token(self) -> str:
        return str(self.session["accessToken"])

    @property
    def contents(self) -> list[bytes]:
        """The contents of all envelopes seen, in order."""
        return [to_bytes(entry["content"]) for entry in self.received if "content" in entry]

    async def call(self, method: str, path: str, body: Body | None = None) -> Body:
        """One REST call with this device's token."""
        return await self.node.call(method, path, body, self.token)

    async def upload_keys(self, one_time: int = 2, pq: int = 1) -> Body:
        """Publish a whole new set of keys."""
        return await self.call("PUT", "/keys", self.keys.upload(one_time, pq))

    async def open_direct(self, other: "Device") -> str:
        """The id of the direct conversation with the other's account."""
        conversation = await self.call("POST", "/conversations", {"kind": "direct", "userId": other.user_id})
        return str(conversation["conversationId"])

    async def post(self, conversation_id: str, other: "Device", content: bytes, **more: Any) -> Body:
        """Post to every device of the other's account by REST, repairing a stale device list once."""
        await self.fetch_device_list(other.user_id)
        body = self.build_post(conversation_id, [other.user_id], content, **more)
        try:
            return await self.call("POST", "/messages", body)
        except RequestRefused as refusal:
            if refusal.code != "STALE_DEVICES":
                raise
        await self.fetch_device_list(other.user_id, again=True)
        return await self.call("POST", "/messages", self.build_post(conversation_id, [other.user_id], content, **more))

    async def fetch_device_list(self, user_id: str, *, again: bool = False) -> Body:
        """The device list of an account, asked for once."""
        if again or user_id not in self.device_lists:
            self.device_lists[user_id] = await self.call("GET", f"/keys/{user_id}")
        return self.device_lists[user_id]

    def build_post(self, conversation_id: str, user_ids: list[str], content: bytes | str, **more: Any) -> Body:
        """A post to all known devices of these accounts; `content` bytes become base64, text is taken as it is."""
        text = base64_text(content) if isinstance(content, bytes) else content
        recipients = [
            {
                "userId": user_id,
                "epoch": self.device_lists[user_id]["epoch"],
                "devices": [
                    {"deviceId": device["deviceId"], "registrationId": device["registrationId"], "content": text}
                    for device in self.device_lists[user_id]["devices"]
                ],
            }
            for user_id in user_ids
        ]
        return {
            "messageId": str(uuid.uuid4()),
            "conversationId": conversation_id,
            "recipients": recipients,
        } | more

    def accept_entries(self, entries: list[Entry]) -> None:
        """Check and keep entries, however they came."""
        assert self.chain is not None
        for entry in entries:
            self.chain.advance(entry)
            self.received.append(entry)

    async def collect(self, wait: int = 0, limit: int = 100) -> Body:
        """One GET /mailbox after the last point seen, checked and kept."""
        after = self.chain.seq if self.chain else 0
        page = await self.call("GET", f"/mailbox?after={after}&limit={limit}&wait={wait}")
        if self.chain is None:
            self.chain = ChainChecker(page["mailboxId"])
        self.accept_entries(page["entries"])
        return page

    async def acknowledge(self) -> Body:
        """Acknowledge everything seen, by REST."""
        assert self.chain is not None
        point = {"seq": self.chain.seq, "head": base64_text(self.chain.head)}
        return await self.call("POST", "/mailbox/acknowledge", point)


def _read_json_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
