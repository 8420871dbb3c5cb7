"""A first message: Ann and Bo sign up, publish keys, and send one another a line that the node cannot read.

    python examples/first_message.py [--otp-file codes.jsonl]    without the file you type the codes that the node shows

It needs aiohttp and cryptography. The encryption is real but short: X25519 with the prekeys the other published, HKDF, AES-256-GCM. The full
protocol (PQXDH, Double Ratchet) comes with the Vyry SDK; the post-quantum key is published here because the node asks for one.
"""

import argparse
import asyncio
import json
import secrets
import uuid
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Person:
    """One person with one device: its keys never leave it."""

    def __init__(self, name: str, http: aiohttp.ClientSession, otp_file: Path | None) -> None:
        self.name = name
        self.number = f"+49151{secrets.randbelow(10**8):08d}"
        self._http = http
        self._otp_file = otp_file
        self._headers: dict[str, str] = {}
        self._identity = Ed25519PrivateKey.generate()
        self._identity_dh, self._signed, self._one_time = (X25519PrivateKey.generate() for _ in range(3))

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Make one REST call and return its answer."""
        async with self._http.request(method, f"/api/v1{path}", json=body, headers=self._headers) as answer:
            content = await answer.json()
        if answer.status >= 400:
            raise SystemExit(f"The node refused {method} {path}: {content}")
        return content

    async def sign_up(self) -> None:
        """Prove the number and become an account with one device."""
        challenge = await self.call("POST", "/auth/request-otp", {"phoneNumber": self.number})
        proof = {"challengeId": challenge["challengeId"], "otp": await asyncio.to_thread(self._read_otp)}
        session = await self.call(
            "POST", "/auth/verify-otp", {**proof, "device": {"name": "terminal", "platform": "cli"}}
        )
        self.user_id: str = session["userId"]
        self._headers = {"Authorization": f"Bearer {session['accessToken']}"}
        print(f"{self.name} signed up with {self.number} and is user {self.user_id}.")

    def _read_otp(self) -> str:
        if self._otp_file is None:
            return input(f"The code the node shows for {self.name} ({self.number}): ").strip()
        sent = [json.loads(line) for line in self._otp_file.read_text(encoding="utf-8").splitlines()]
        return str(next(line["otp"] for line in reversed(sent) if line["phoneNumber"] == self.number))

    async def publish_keys(self) -> None:
        """Give the node the public halves, signed, so that others can write while this device is away."""
        pq = MLKEM1024PrivateKey.generate().public_key().public_bytes_raw()
        dh, identity = _public(self._identity_dh), self._identity.public_key().public_bytes_raw()
        dh_signature = self._identity.sign(_label("identity dh") + identity + dh)
        keys = {
            "suite": "vyry",
            "registrationId": 1 + secrets.randbelow(16380),
            "identityKey": b64encode(identity).decode(),
            "identityDhKey": b64encode(dh).decode(),
            "identityDhSignature": b64encode(dh_signature).decode(),
            "signedPrekey": self._signed_key("signed prekey", _public(self._signed)),
            "oneTimePrekeys": [{"id": 1, "key": b64encode(_public(self._one_time)).decode()}],
            "pqLastResort": self._signed_key("pq last-resort prekey", pq),
            "pqPrekeys": [],
        }
        await self.call("PUT", "/keys", keys)
        print(f"{self.name} published keys; the private halves stayed here.")

    def _signed_key(self, label: str, key: bytes) -> dict[str, object]:
        signature = self._identity.sign(_label(label) + _public(self._identity_dh) + (1).to_bytes(4, "big") + key)
        return {"id": 1, "key": b64encode(key).decode(), "signature": b64encode(signature).decode()}

    async def write(self, conversation_id: str, user_id: str, line: str) -> None:
        """Encrypt a line to the one device of that user and post it."""
        claimed = await self.call("POST", f"/keys/{user_id}/claim", {})
        bundle = claimed["bundles"][0]
        signed, one_time = bundle["signedPrekey"], bundle["oneTimePrekey"]
        identity = Ed25519PublicKey.from_public_bytes(b64decode(bundle["identityKey"]))
        over = b64decode(bundle["identityDhKey"]) + signed["id"].to_bytes(4, "big") + b64decode(signed["key"])
        identity.verify(b64decode(signed["signature"]), _label("signed prekey") + over)
        fresh, nonce = X25519PrivateKey.generate(), secrets.token_bytes(12)
        key = _agree((fresh, b64decode(signed["key"])), (fresh, b64decode(one_time["key"])))
        sealed = AESGCM(key).encrypt(nonce, line.encode(), None)
        content = b64encode(_public(fresh) + nonce + sealed).decode()
        device = {"deviceId": bundle["deviceId"], "registrationId": bundle["registrationId"], "content": content}
        recipients = [{"userId": user_id, "epoch": claimed["epoch"], "devices": [device]}]
        body = {"messageId": str(uuid.uuid4()), "conversationId": conversation_id, "recipients": recipients}
        await self.call("POST", "/messages", body)
        print(f"{self.name} wrote {line!r}; the node has it as {content[:24]}... and promised to keep it.")

    async def read(self) -> None:
        """Wait for the next entry of the mailbox, open it, acknowledge it: then the node forgets it."""
        entry: dict[str, Any] = {"seq": 0}
        while "content" not in entry:  # The node's own notices are entries too (here: prekeys run low).
            entry = (await self.call("GET", f"/mailbox?after={entry['seq']}&limit=1&wait=25"))["entries"][0]
        content = b64decode(entry["content"])
        key = _agree((self._signed, content[:32]), (self._one_time, content[:32]))
        line = AESGCM(key).decrypt(content[32:44], content[44:], None).decode()
        await self.call("POST", "/mailbox/acknowledge", {"seq": entry["seq"], "head": entry["head"]})
        print(f"{self.name} got number {entry['seq']} and reads: {line!r}.")


def _agree(*pairs: tuple[X25519PrivateKey, bytes]) -> bytes:
    secret = b"".join(own.exchange(X25519PublicKey.from_public_bytes(theirs)) for own, theirs in pairs)
    return HKDF(SHA256(), 32, salt=None, info=b"vyry first message").derive(secret)


def _public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _label(words: str) -> bytes:
    return f"vyry/1 {words}\0".encode()


async def main(url: str, otp_file: Path | None) -> None:
    """Tell the story once."""
    async with aiohttp.ClientSession(url) as http:
        ann, bo = Person("Ann", http, otp_file), Person("Bo", http, otp_file)
        for person in (ann, bo):
            await person.sign_up()
            await person.publish_keys()
        conversation = await ann.call("POST", "/conversations", {"kind": "direct", "userId": bo.user_id})
        await ann.write(conversation["conversationId"], bo.user_id, "Hello Bo, the node cannot read this.")
        await bo.read()
        await bo.write(conversation["conversationId"], ann.user_id, "Nor this, Ann.")
        await ann.read()
        print("One ciphertext there and one back, each delivered once and forgotten by the node.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the node listens")
    parser.add_argument("--otp-file", type=Path, help="the file named by the node's VYRY_SMS=file:PATH")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, arguments.otp_file))
