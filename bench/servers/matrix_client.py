"""The devices of a load on a Matrix server: to-device messages, received by /sync."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Never

import aiohttp

from bench.load import CONTENT_BYTES, LoadError, Outcomes, Pair
from bench.servers.synapse import SHARED_SECRET


POLL_MS: Final = 2_000
_FILTER: Final = json.dumps({"room": {"rooms": []}, "presence": {"types": []}, "account_data": {"types": []}})


@dataclass(slots=True)
class _Account:
    token: str
    device: str
    since: str | None = None


class MatrixClient:
    """All devices of the pairs; the user id of a member is its local part."""

    def __init__(self, outcomes: Outcomes, pairs: Sequence[Pair], http: aiohttp.ClientSession, url: str) -> None:
        self._outcomes = outcomes
        self._http = http
        self._url = url
        self._content = base64.b64encode(secrets.token_bytes(CONTENT_BYTES)).decode()
        self._senders = {pair.sender.user_id for pair in pairs}
        self._receivers = {pair.receiver.user_id for pair in pairs}
        self._accounts: dict[str, _Account] = {}
        self._polls: dict[str, asyncio.Task[Never]] = {}
        self._posts: set[asyncio.Task[None]] = set()
        self._transactions = itertools.count(1)

    async def connect(self, *, receivers: bool) -> None:
        """Register the first time; receivers poll from the second sync on."""
        for user in sorted((self._senders | self._receivers) - set(self._accounts)):
            self._accounts[user] = await self._register(user)
        wanted = self._receivers - set(self._polls) if receivers else set()
        await asyncio.gather(*(self._sync(user, 0) for user in wanted))
        for user in wanted:
            self._polls[user] = asyncio.create_task(self._poll(user))

    def post(self, pair: Pair, message_id: str) -> None:
        """Send one to-device message."""
        task = asyncio.create_task(self._send(pair, message_id))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def disconnect(self) -> None:
        """Stop polling; the next sync acknowledges what the last one brought."""
        polls, self._polls = list(self._polls.values()), {}
        for poll in polls:
            poll.cancel()
        for poll in polls:
            with suppress(asyncio.CancelledError):
                await poll

    async def _register(self, user: str) -> _Account:
        path = "/_synapse/admin/v1/register"
        nonce = (await self._call("GET", path))["nonce"]
        proof = b"\0".join([nonce.encode(), user.encode(), b"pw", b"notadmin"])
        mac = hmac.new(SHARED_SECRET.encode(), proof, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": user, "password": "pw", "mac": mac, "admin": False}
        answer = await self._call("POST", path, json=body)
        return _Account(answer["access_token"], answer["device_id"])

    async def _poll(self, user: str) -> Never:
        while True:
            await self._sync(user, POLL_MS)

    async def _sync(self, user: str, wait_ms: int) -> None:
        account = self._accounts[user]
        query = {"timeout": str(wait_ms), "filter": _FILTER, **({"since": account.since} if account.since else {})}
        answer = await self._call("GET", "/_matrix/client/v3/sync", account, params=query)
        account.since = answer["next_batch"]
        for event in answer.get("to_device", {}).get("events", ()):
            self._outcomes.delivered(event["content"]["message_id"])

    async def _send(self, pair: Pair, message_id: str) -> None:
        receiver = pair.receiver.user_id
        content = {"algorithm": "m.olm", "message_id": message_id, "ciphertext": self._content}
        body = {"messages": {f"@{receiver}:localhost": {self._accounts[receiver].device: content}}}
        path = f"/_matrix/client/v3/sendToDevice/m.room.encrypted/{next(self._transactions)}"
        try:
            await self._call("PUT", path, self._accounts[pair.sender.user_id], json=body)
        except (LoadError, aiohttp.ClientError) as fault:
            self._outcomes.failed(fault)
        else:
            self._outcomes.accepted(message_id)

    async def _call(self, method: str, path: str, account: _Account | None = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {account.token}"} if account else {}
        async with self._http.request(method, self._url + path, headers=headers, **options) as answer:
            content = await answer.json()
        if answer.status != 200:
            raise LoadError(f"{method} {path.split('?', maxsplit=1)[0]}: {answer.status} {content}")
        return content
