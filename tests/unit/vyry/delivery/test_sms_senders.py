"""How codes reach people: on the console, in a file, by a signed webhook."""

import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.account_harness import NUMBER, SECRET
from tests.support.fake_clock import NOON, FakeClock
from vyry.accounts.otp import Channel, OtpMessage, Purpose, SendFailed
from vyry.accounts.phone import PhoneNumber
from vyry.delivery import gateway as gateways
from vyry.delivery.sms.carriers import TwilioSender, VonageSender
from vyry.delivery.sms.senders import (
    ConsoleSender,
    FileSender,
    SenderSecrets,
    WebhookSender,
    open_sender,
)
from vyry.delivery.webhook_signing import webhook_key, webhook_signature


MESSAGE = OtpMessage(UUID(int=5), PhoneNumber(NUMBER), "012345", Purpose.LOGIN, Channel.VOICE, NOON)
LINE = {"phoneNumber": NUMBER, "otp": "012345", "purpose": "login", "at": "2026-01-01T12:00:00.000Z"}


class Gateway:
    """An operator's gateway that answers as told, the last status for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[dict[str, str], bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def sending(gateway: Gateway) -> AsyncIterator[WebhookSender]:
    """A sender to this gateway."""
    app = web.Application()
    app.router.add_post("/codes", gateway.take)
    async with TestServer(app) as server:
        yield WebhookSender(str(server.make_url("/codes")), b"k" * 32, FakeClock())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "RETRY_DELAYS", (0.0, 0.0))


async def test_a_file_gets_one_line_a_code_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "codes.jsonl"
    sender = FileSender(path)

    await sender.send(MESSAGE)
    await sender.send(MESSAGE)

    assert [json.loads(line) for line in path.read_text().splitlines()] == [LINE, LINE]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(SendFailed):
        await FileSender(tmp_path / "nowhere" / "codes.jsonl").send(MESSAGE)


async def test_the_console_shows_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    await ConsoleSender().send(MESSAGE)

    assert "012345" in capsys.readouterr().out


async def test_the_gateway_gets_a_signed_body() -> None:
    gateway = Gateway(204)

    async with sending(gateway) as sender:
        await sender.send(MESSAGE)

    ((headers, body),) = gateway.requests
    assert json.loads(body) == {**LINE, "channel": "voice", "id": str(UUID(int=5))}
    assert headers["Vyry-Timestamp"] == str(int(NOON.timestamp()))
    assert headers["Vyry-Signature"] == f"v1={webhook_signature(b'k' * 32, headers['Vyry-Timestamp'], body)}"


async def test_a_gateway_that_stumbles_is_tried_again_with_the_same_id() -> None:
    gateway = Gateway(500, 429, 200)

    async with sending(gateway) as sender:
        await sender.send(MESSAGE)

    assert len(gateway.requests) == 3
    assert len({body for _, body in gateway.requests}) == 1


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (400, 1), (401, 1), (302, 3)])
async def test_a_gateway_that_refuses_is_unavailable_after_bounded_tries(status: int, tries: int) -> None:
    gateway = Gateway(status)

    async with sending(gateway) as sender:
        with pytest.raises(SendFailed) as refusal:
            await sender.send(MESSAGE)

    assert len(gateway.requests) == tries
    assert "012345" not in str(refusal.value)
    assert "127.0.0.1" not in str(refusal.value)


async def test_a_gateway_that_is_away_is_unavailable() -> None:
    with pytest.raises(SendFailed):
        await WebhookSender("http://127.0.0.1:9/codes", b"k" * 32, FakeClock()).send(MESSAGE)


def test_the_setting_names_the_sender(tmp_path: Path) -> None:
    clock = FakeClock()

    senders = [
        type(open_sender(setting, SenderSecrets(SECRET), clock))
        for setting in (
            "console",
            f"file:{tmp_path / 'codes'}",
            "webhook:https://sms.example/send",
            "twilio:AC1@Vyry",
            "vonage:A1@Vyry",
        )
    ]

    assert senders == [ConsoleSender, FileSender, WebhookSender, TwilioSender, VonageSender]


def test_the_webhook_key_is_not_the_secret_it_comes_from() -> None:
    assert webhook_key(SECRET) not in (SECRET, webhook_key(SECRET + b"x"))
