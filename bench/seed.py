"""The people of a benchmark: signed up over REST like anybody (codes come from the node's file), with real keys where they get mail."""

import asyncio
import base64
import itertools
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.load import Member, Pair


AT_ONCE = 16
_numbers = itertools.count(secrets.randbelow(10**7))


class AccountSeeder:
    """Signs people up at one node."""

    def __init__(self, http: aiohttp.ClientSession, url: str, otp_file: Path) -> None:
        self._http = http
        self._url = url
        self._otp_file = otp_file
        self._offset = 0
        self._codes: dict[str, str] = {}

    async def members(self, count: int, *, with_keys: bool) -> list[Member]:
        """That many new accounts with a device each."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> Member:
            async with gate:
                return await self._member(with_keys=with_keys)

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def pairs(self, members: Sequence[tuple[Member, Member]]) -> list[Pair]:
        """A direct conversation for each of these senders and receivers."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(sender: Member, receiver: Member) -> Pair:
            async with gate:
                return await self.pair(sender, receiver)

        return list(await asyncio.gather(*(one(*each) for each in members)))

    async def pair(self, sender: Member, receiver: Member) -> Pair:
        """A direct conversation of the two."""
        body = {"kind": "direct", "userId": receiver.user_id}
        conversation = await self._call("POST", "/conversations", body, sender.token)
        return Pair(sender, receiver, conversation["conversationId"])

    async def group(self, admin: Member, members: Sequence[Member]) -> str:
        """A group of these people."""
        body = {"kind": "group", "memberIds": [each.user_id for each in members], "sealedInfo": _text(b"bench")}
        conversation = await self._call("POST", "/conversations", body, admin.token)
        group = str(conversation["conversationId"])
        invited = set(conversation["invited"])
        for member in members:
            if member.user_id in invited:
                await self._call("POST", f"/conversations/invitations/{group}/accept", None, member.token)
        return group

    async def befriend(self, one: Member, other: Member) -> None:
        """Make these two friends who show each other their presence."""
        for asker, asked in ((one, other), (other, one)):
            await self._call("PATCH", "/account", {"settings": {"showPresence": True}}, asker.token)
            await self._call("POST", "/friends/requests", {"userId": asked.user_id}, asker.token)

    async def _member(self, *, with_keys: bool) -> Member:
        number = f"+49151{next(_numbers) % 10**8:08d}"
        challenge = await self._call("POST", "/auth/request-otp", {"phoneNumber": number})
        proof = {"challengeId": challenge["challengeId"], "otp": self._code(number)}
        device = {"name": "bench", "platform": "cli"}
        session = await self._call("POST", "/auth/verify-otp", {**proof, "device": device})
        token, user_id = session["accessToken"], session["userId"]
        member = Member(self._url, token, user_id, session["deviceId"])
        if not with_keys:
            return member
        await self._call("PUT", "/keys", _keys(), token)
        devices = await self._call("GET", f"/keys/{user_id}", None, token)
        number_of_device = devices["devices"][0]["registrationId"]
        return Member(self._url, token, user_id, session["deviceId"], number_of_device, devices["epoch"])

    async def _call(self, method: str, path: str, body: object, token: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._http.request(method, f"{self._url}/api/v1{path}", json=body, headers=headers) as answer:
            content = await answer.json()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content}")
        return content

    def _code(self, number: str) -> str:
        """The node has written it before it answered."""
        self._read()
        return self._codes.pop(number)

    def _read(self) -> None:
        with self._otp_file.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            said = json.loads(line)
            self._codes[said["phoneNumber"]] = said["otp"]


def _keys() -> dict[str, object]:
    identity, dh, signed = Ed25519PrivateKey.generate(), X25519PrivateKey.generate(), X25519PrivateKey.generate()
    own, dh_public = identity.public_key().public_bytes_raw(), dh.public_key().public_bytes_raw()

    def signed_key(words: str, key: bytes) -> dict[str, object]:
        return {"id": 1, "key": _text(key), "signature": sign(words, dh_public + (1).to_bytes(4, "big") + key)}

    def sign(words: str, over: bytes) -> str:
        return _text(identity.sign(f"vyry/1 {words}\0".encode() + over))

    return {
        "suite": "vyry",
        "registrationId": 1 + secrets.randbelow(16380),
        "identityKey": _text(own),
        "identityDhKey": _text(dh_public),
        "identityDhSignature": sign("identity dh", own + dh_public),
        "signedPrekey": signed_key("signed prekey", signed.public_key().public_bytes_raw()),
        "oneTimePrekeys": [],
        "pqLastResort": signed_key(
            "pq last-resort prekey", MLKEM1024PrivateKey.generate().public_key().public_bytes_raw()
        ),
        "pqPrekeys": [],
    }


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
