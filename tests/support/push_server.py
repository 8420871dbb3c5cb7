"""Push services on the loopback that speak their real protocols: Web Push with VAPID and aes128gcm, Firebase's HTTP v1 with its token exchange."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.sms_provider_server import FaultHandler
from vyry.devices.push import PushKind, PushTarget


PROJECT, EMAIL, KEY_ID = "vyry-tests", "push@vyry-tests.iam.gserviceaccount.com", "k" * 40
_GOOGLE = rsa.generate_private_key(65537, 2048)
_GOOGLE_PEM = _GOOGLE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_GOOGLE_PUBLIC = _GOOGLE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CONTACT = "mailto:operator@example.org"


class Subscription:
    """What a browser makes: a key pair, a secret, and a place at the push service."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = generate_private_key(SECP256R1())
        self.auth = secrets.token_bytes(16)
        self.p256dh = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def push_target(self, url: str) -> PushTarget:
        """As a client registers it."""
        return PushTarget(PushKind.WEBPUSH, f"{url}/push/{self.name}", self.p256dh, self.auth)

    def registration_body(self, url: str) -> dict[str, str]:
        """The same, as JSON."""
        texts = {"p256dh": base64.b64encode(self.p256dh).decode(), "auth": base64.b64encode(self.auth).decode()}
        return {"kind": "webpush", "endpoint": f"{url}/push/{self.name}", **texts}

    def decrypt(self, body: bytes) -> bytes:
        """What a browser reads, by the words of RFC 8291 section 3.4 and RFC 8188 section 2."""
        salt, record_size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(sealed) <= record_size
        shared = self._key.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), sender))
        first = _mac(_mac(self.auth, shared), b"WebPush: info\0" + self.p256dh + sender + b"\1")
        second = _mac(salt, first)
        key = _mac(second, b"Content-Encoding: aes128gcm\0\1")[:16]
        nonce = _mac(second, b"Content-Encoding: nonce\0\1")[:12]
        opened = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert opened[-1:] == b"\2"
        return opened[:-1]


@dataclass(slots=True)
class ReceivedPush:
    """One push, as the service and the browser behind it saw it."""

    name: str
    headers: dict[str, str]
    content: bytes
    claims: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class PushServer:
    """The services of both kinds: what reached them, and what they answer instead while they have trouble."""

    url: str = ""
    request_count: int = 0
    token_count: int = 0
    pushed: list[ReceivedPush] = field(default_factory=list)
    fcm_messages: list[dict[str, Any]] = field(default_factory=list)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    bearer: str = ""
    fault: FaultHandler | None = None
    #: Called after each push that was taken.
    on_push: Callable[[], None] = lambda: None

    def subscribe(self, name: str = "ann") -> Subscription:
        """A browser subscribes."""
        self.subscriptions[name] = Subscription(name)
        return self.subscriptions[name]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Every request comes through here."""
        self.request_count += 1
        if self.fault:
            return await self.fault(request)
        return await (self.handle_web_push(request) if request.path.startswith("/push/") else self.handle_fcm(request))

    async def handle_web_push(self, request: web.Request) -> web.Response:
        """POST of RFC 8030: 201. With keys it must be sealed and signed."""
        name, body, claims = request.path.removeprefix("/push/"), await request.read(), {}
        headers = {key: str(value) for key, value in request.headers.items()}
        if name in self.subscriptions:
            claims = _verified(headers["Authorization"])
            assert headers["Content-Encoding"] == "aes128gcm"
            body = self.subscriptions[name].decrypt(body)
        self.pushed.append(ReceivedPush(name, headers, body, claims))
        self.on_push()
        return web.Response(status=201, headers={"Location": f"/message/{len(self.pushed)}"})

    async def handle_fcm(self, request: web.Request) -> web.Response:
        """The token endpoint, and messages:send behind it."""
        if request.path == "/token":
            form = await request.post()
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            signed = str(form["assertion"])
            claims = jwt.decode(signed, _GOOGLE_PUBLIC, ["RS256"], audience=f"{self.url}/token")
            assert jwt.get_unverified_header(signed)["kid"] == KEY_ID
            assert (claims["iss"], claims["scope"]) == (EMAIL, "https://www.googleapis.com/auth/firebase.messaging")
            self.token_count += 1
            self.bearer = f"ya29.{secrets.token_hex(20)}"
            return web.json_response({"access_token": self.bearer, "expires_in": 3599, "token_type": "Bearer"})
        if request.headers.get("Authorization") != f"Bearer {self.bearer}":
            return fcm_error(401, "UNAUTHENTICATED")
        self.fcm_messages.append((await request.json())["message"])
        self.on_push()
        return web.json_response({"name": f"projects/{PROJECT}/messages/1"})

    def service_account(self) -> bytes:
        """The service account as Google gives it."""
        said = {"type": "service_account", "project_id": PROJECT, "private_key_id": KEY_ID, "private_key": _GOOGLE_PEM}
        return json.dumps({**said, "client_email": EMAIL, "token_uri": f"{self.url}/token"}).encode()


def fcm_error(status: int, name: str, code: str | None = None) -> web.Response:
    """An error as Firebase says it."""
    detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
    error = {"code": status, "message": "a text", "status": name, "details": [detail] if code else []}
    return web.json_response({"error": error}, status=status)


def _verified(authorization: str) -> dict[str, Any]:
    """The claims of a VAPID header, its signature checked by the key that stands beside it."""
    scheme, _, rest = authorization.partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    point = base64.urlsafe_b64decode(parts["k"] + "=" * (-len(parts["k"]) % 4))
    key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    assert scheme == "vapid"
    claims: dict[str, Any] = jwt.decode(parts["t"], key, ["ES256"], options={"verify_aud": False, "verify_exp": False})
    return claims | {"k": point}


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


@asynccontextmanager
async def open_push_server(port: int | None = None) -> AsyncIterator[PushServer]:
    """Services that are well; nodes reach them on PUSH_PORT alone."""
    house = PushServer()
    app = web.Application()
    for path in ("/push/{name}", "/token", f"/v1/projects/{PROJECT}/messages:send", "/elsewhere"):
        app.router.add_post(path, house.handle)
    async with TestServer(app, host="127.0.0.1", port=port) as server:
        house.url = str(server.make_url("")).rstrip("/")
        yield house
