"""A socket lives no longer than the sessions of its device: whatever ends them closes it with 4401 within a second."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from vyry.composition.services import open_services
from vyry.settings.settings import Role, load_settings
from web.app import build_app
from web.connection import serve_app


@dataclass(slots=True)
class ClientSession:
    """A client of an embedded node, and the session it has."""

    http: aiohttp.ClientSession
    codes: Path
    session: dict[str, Any]

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One request with the session's token."""
        headers = {"Authorization": f"Bearer {self.session['accessToken']}"} if self.session else {}
        async with self.http.request(method, f"/api/v1{path}", json=body, headers=headers) as answer:
            return dict(await answer.json())

    async def sign_up(self) -> None:
        """Become the primary device of the one account there is."""
        challenge = (await self.ask("POST", "/auth/request-otp", {"phoneNumber": "+41791234567"}))["challengeId"]
        otp = json.loads(self.codes.read_text().splitlines()[-1])["otp"]
        device = {"name": "phone", "platform": "cli"}
        self.session = await self.ask(
            "POST", "/auth/verify-otp", {"challengeId": challenge, "otp": otp, "device": device}
        )

    async def refresh(self, token: str) -> dict[str, Any]:
        """A new attempt with this refresh token."""
        return await self.ask("POST", "/auth/refresh-token", {"refreshToken": token, "attemptId": str(uuid4())})


@pytest.fixture
async def client_session(sqlite_url: str, tmp_path: Path) -> AsyncIterator[ClientSession]:
    codes = tmp_path / "codes"
    names = {
        "VYRY_DATA_DIR": str(tmp_path),
        "VYRY_SMS": f"file:{codes}",
        "VYRY_LIMITS": "off",
        "DATABASE_URL": sqlite_url,
    }
    settings = load_settings(Role.START, names)
    async with open_services(settings, Role.START) as services:
        app = build_app(settings, services)
        async with serve_app(app, "127.0.0.1", 0) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            visit = ClientSession(http, codes, {})
            await visit.sign_up()
            yield visit


async def log_out(client_session: ClientSession) -> None:
    await client_session.ask("POST", "/auth/logout")


async def delete_the_device(client_session: ClientSession) -> None:
    await client_session.ask("DELETE", "/devices/1")


async def sign_up_again(client_session: ClientSession) -> None:
    await client_session.sign_up()


async def use_a_refresh_token_twice(client_session: ClientSession) -> None:
    token = client_session.session["refreshToken"]
    await client_session.refresh(token)
    await client_session.refresh(token)


@pytest.mark.parametrize("end", [log_out, delete_the_device, sign_up_again, use_a_refresh_token_twice])
async def test_what_ends_the_sessions_of_a_device_closes_its_socket(
    client_session: ClientSession, end: Callable[[ClientSession], Awaitable[None]]
) -> None:
    ticket = (await client_session.ask("POST", "/auth/ws-ticket"))["ticket"]
    hello = {"type": "hello", "id": "1", "payload": {"after": 0, "head": None, "client": {"name": "t", "version": "1"}}}
    async with client_session.http.ws_connect(f"/api/v1/ws?ticket={ticket}") as socket:
        await socket.send_json(hello)
        assert [(await socket.receive_json())["type"] for _ in range(2)] == ["welcome", "drained"]

        await end(client_session)

        async with asyncio.timeout(1):
            assert (await socket.receive()).data == 4401


async def test_a_used_ticket_opens_no_second_socket(client_session: ClientSession) -> None:
    ticket = (await client_session.ask("POST", "/auth/ws-ticket"))["ticket"]
    async with client_session.http.ws_connect(f"/api/v1/ws?ticket={ticket}"):
        pass

    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await client_session.http.ws_connect(f"/api/v1/ws?ticket={ticket}")

    assert refusal.value.status == 401
