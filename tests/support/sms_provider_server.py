"""An SMS provider on the loopback with the HTTP API that Twilio and Vonage document: paths, authentication, fields, statuses, bodies."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


SID, TOKEN, APPLICATION = "AC" + "1" * 32, "5" * 32, "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
_KEY = rsa.generate_private_key(65537, 2048)
PRIVATE_KEY = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_PUBLIC_KEY = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
FaultHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class SmsProviderServer:
    """What it was asked to carry, and what it answers instead while it has trouble."""

    url: str = ""
    request_count: int = 0
    sent_messages: list[dict[str, object]] = field(default_factory=list)
    fault: FaultHandler | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Every request comes through here."""
        self.request_count += 1
        if self.fault:
            return await self.fault(request)
        return await (self.twilio(request) if request.path.startswith("/2010") else self.vonage(request))

    async def twilio(self, request: web.Request) -> web.Response:
        """POST /2010-04-01/Accounts/{sid}/Messages.json and Calls.json: a form, basic authentication, 201 with a sid."""
        login = base64.b64encode(f"{SID}:{TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {login}":
            return twilio_error(401, 20003, "Authenticate")
        form = {name: str(value) for name, value in (await request.post()).items()}
        if "To" not in form or not form.keys() & {"Body", "Twiml"}:
            return twilio_error(400, 21604, "A 'To' phone number is required.")
        self.sent_messages.append({"resource": request.match_info["resource"], **form})
        return web.json_response({"sid": "SM" + "2" * 32, "status": "queued", "error_code": None}, status=201)

    async def vonage(self, request: web.Request) -> web.Response:
        """POST /v1/messages (202, message_uuid) and /v1/calls (201, uuid): JSON, a bearer token that the application's key has signed."""
        token = request.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, _PUBLIC_KEY, ["RS256"], options={"verify_exp": False, "verify_iat": False})
        if claims["application_id"] != APPLICATION or not claims.keys() >= {"iat", "exp", "jti"}:
            return web.json_response({"title": "Unauthorized", "detail": "Invalid token"}, status=401)
        resource = request.match_info["resource"]
        self.sent_messages.append({"resource": resource, **(await request.json())})
        if resource == "messages":
            return web.json_response({"message_uuid": APPLICATION}, status=202)
        return web.json_response({"uuid": APPLICATION, "status": "started", "direction": "outbound"}, status=201)


def twilio_error(status: int, code: int, message: str) -> web.Response:
    """An error as Twilio says it."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return web.json_response({"code": code, "message": message, "more_info": more, "status": status}, status=status)


def respond_with(status: int, body: bytes = b"", **headers: str) -> FaultHandler:
    """Trouble that is an answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def never_respond(_: web.Request) -> web.Response:
    """Trouble that never answers."""
    await asyncio.Event().wait()
    return web.Response()


async def drop_connection(request: web.Request) -> web.Response:
    """Trouble that cuts the line."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@asynccontextmanager
async def open_sms_provider() -> AsyncIterator[SmsProviderServer]:
    """A carrier that is well."""
    carrier = SmsProviderServer()
    app = web.Application()
    for path in (f"/2010-04-01/Accounts/{SID}/{{resource}}.json", "/v1/{resource}", "/elsewhere"):
        app.router.add_post(path, carrier.handle)
    async with TestServer(app) as server:
        carrier.url = str(server.make_url("")).rstrip("/")
        yield carrier
