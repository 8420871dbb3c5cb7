"""A whole node whose settings say how codes are sent: over a carrier, to some countries, for some money, behind a door."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.support.api_conformance import assert_documented
from tests.support.rest_device import Body
from tests.support.sms_provider_server import (
    APPLICATION,
    PRIVATE_KEY,
    SID,
    TOKEN,
    SmsProviderServer,
    open_sms_provider,
    respond_with,
)
from vyry.accounts.phone import PhoneNumber
from vyry.accounts.signup import leading_zero_bits
from vyry.composition.services import open_services
from vyry.settings.settings import Role, load_settings
from web.app import build_app
from web.connection import serve_app


NUMBER, PATH = "+41791234567", "/api/v1/auth/request-otp"


class OtpNode:
    """A node that is asked for codes."""

    def __init__(self, http: ClientSession, port: int) -> None:
        self._http = http
        self._url = f"http://127.0.0.1:{port}{PATH}"

    async def ask(
        self, number: str = NUMBER, headers: Mapping[str, str] | None = None, **more: str
    ) -> tuple[int, Body]:
        """Ask for a code; every answer is held against OpenAPI."""
        async with self._http.post(self._url, json={"phoneNumber": number, **more}, headers=headers) as answer:
            body = await answer.json()
            assert_documented("POST", PATH, answer.status, body)
            return answer.status, body


@pytest.fixture
async def sms_provider() -> AsyncIterator[SmsProviderServer]:
    async with open_sms_provider() as opened:
        yield opened


@asynccontextmanager
async def open_node(folder: Path, database: str, **more: str) -> AsyncIterator[OtpNode]:
    """A node with these settings."""
    settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(folder), "DATABASE_URL": database, **more})
    async with open_services(settings, Role.START) as services:
        app = build_app(settings, services)
        async with serve_app(app, "127.0.0.1", 0) as port, ClientSession() as http:
            yield OtpNode(http, port)


def kept(folder: Path, secret: str) -> str:
    path = folder / "secret-of-the-carrier"
    path.write_text(secret)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("sms", "secret"), [(f"twilio:{SID}@+15005550006", TOKEN), (f"vonage:{APPLICATION}@+15005550006", PRIVATE_KEY)]
)
async def test_codes_go_over_the_carrier_that_is_set(
    sqlite_url: str, tmp_path: Path, sms_provider: SmsProviderServer, sms: str, secret: str
) -> None:
    file = kept(tmp_path, secret)

    async with open_node(
        tmp_path, sqlite_url, VYRY_SMS=sms, VYRY_SMS_SECRET_FILE=file, VYRY_SMS_URL=sms_provider.url
    ) as node:
        text, call = await node.ask(), await node.ask("+41791234568", channel="voice")

    assert (text[0], call[0]) == (200, 200)
    assert [str(each["resource"]).lower() for each in sms_provider.sent_messages] == ["messages", "calls"]


async def test_a_carrier_that_refuses_is_503_costs_nothing_and_paces_the_number(
    sqlite_url: str, tmp_path: Path, sms_provider: SmsProviderServer
) -> None:
    more = {
        "VYRY_SMS": f"twilio:{SID}@Vyry",
        "VYRY_SMS_SECRET_FILE": kept(tmp_path, TOKEN),
        "VYRY_SMS_URL": sms_provider.url,
    }
    sms_provider.fault = respond_with(400, b'{"code": 21211}')

    async with open_node(tmp_path, sqlite_url, VYRY_SMS_PRICE="1", VYRY_SMS_DAILY_CAP="1", **more) as node:
        failed, paced = await node.ask(), await node.ask()
        sms_provider.fault = None
        sent, spent = await node.ask("+41791234568"), await node.ask("+41791234569")

    assert failed[0] == 503
    assert 30 <= failed[1]["retry_after_seconds"] <= 45
    assert paced[0] == 429
    assert sent[0] == 200
    assert spent[0] == 503
    assert 86_000 < spent[1]["retry_after_seconds"] <= 86_415


async def test_other_countries_get_no_code(sqlite_url: str, tmp_path: Path) -> None:
    async with open_node(tmp_path, sqlite_url, VYRY_SMS=f"file:{tmp_path}/codes", VYRY_SMS_COUNTRIES="DE") as node:
        foreign, own = await node.ask(), await node.ask("+4915112345678")

    assert (foreign[0], foreign[1]["fields"][0]["field"], own[0]) == (400, "phoneNumber", 200)


async def test_a_client_that_has_worked_gets_its_code(sqlite_url: str, tmp_path: Path) -> None:
    stamp = round(time.time())
    proofs = (f"{stamp}:{nonce}" for nonce in count())

    async with open_node(tmp_path, sqlite_url, VYRY_SMS=f"file:{tmp_path}/codes", VYRY_CAPTCHA="hashcash:8") as node:
        idle = await node.ask()
        proof = next(each for each in proofs if leading_zero_bits(PhoneNumber(NUMBER), each) >= 8)
        worked = await node.ask(headers={"X-Vyry-Proof": proof})

    assert (idle[0], idle[1]["fields"][0]["field"]) == (400, "X-Vyry-Proof")
    assert worked[0] == 200
