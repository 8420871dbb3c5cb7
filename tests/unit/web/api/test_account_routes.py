"""Sign-up, account and devices over HTTP: field names, shapes and errors of docs/protocol.md."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from tests.support.account_harness import NUMBER, AccountHarness, open_stores
from vyry.local_limits import BucketLimiter
from vyry.settings.settings import Role, load_settings
from web.app import build_rest_app
from web.routes import ROUTES


if TYPE_CHECKING:
    from vyry.composition.services import Services

DEVICE = {"name": "phone", "platform": "cli"}
API = "/api/v1"


class SessionClient:
    """A client of the node, with its access token."""

    def __init__(self, http: TestClient[Any, Any], harness: AccountHarness) -> None:
        self.http = http
        self.harness = harness
        self.token: str | None = None

    async def request(self, method: str, path: str, body: object = None, **headers: str) -> ClientResponse:
        """One request below /api/v1, with the token if there is one."""
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return await self.http.request(method, API + path, json=body, headers=sent | headers)

    async def challenge(self, number: str = NUMBER) -> str:
        """A challenge, after the resend wait of the number."""
        self.harness.clock.advance(seconds=31)
        answer = await self.request("POST", "/auth/request-otp", {"phoneNumber": number})
        return str((await answer.json())["challengeId"])

    async def sign_up(self, number: str = NUMBER) -> dict[str, Any]:
        """The session of a new primary device; later requests carry its token."""
        body = {
            "challengeId": await self.challenge(number),
            "otp": self.harness.otp_sender.sent[-1].otp,
            "device": DEVICE,
        }
        self.token = None
        session: dict[str, Any] = await (await self.request("POST", "/auth/verify-otp", body)).json()
        self.token = session["accessToken"]
        return session


@pytest.fixture
async def guest(tmp_path: Path) -> AsyncIterator[SessionClient]:
    """A client of a node with accounts in memory."""
    async with open_stores(None) as stores:
        harness = AccountHarness(stores)
        services = SimpleNamespace(
            sessions=harness.sessions,
            sign_up=SimpleNamespace(registration=harness.registration),
            accounts=harness.accounts,
            devices=harness.devices,
            buckets=BucketLimiter(),
        )
        settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path)})
        async with TestClient(TestServer(build_rest_app(settings, cast("Services", services), ROUTES))) as http:
            yield SessionClient(http, harness)


async def code_of(answer: ClientResponse) -> tuple[int, str]:
    return answer.status, (await answer.json())["error_code"]


async def test_a_code_is_requested(guest: SessionClient) -> None:
    answer = await guest.request("POST", "/auth/request-otp", {"phoneNumber": NUMBER, "channel": "voice"})

    body = await answer.json()
    assert answer.status == 200
    assert body == {"challengeId": body["challengeId"], "expiresInSeconds": 180, "resendAfterSeconds": 30}
    assert "otp_number" in answer.headers["RateLimit-Policy"]


async def test_a_known_number_is_answered_like_an_unknown_one(guest: SessionClient) -> None:
    await guest.sign_up()
    guest.harness.clock.advance(seconds=31)

    known = await guest.request("POST", "/auth/request-otp", {"phoneNumber": NUMBER})
    unknown = await guest.request("POST", "/auth/request-otp", {"phoneNumber": "+41791234599"})

    assert known.status == unknown.status == 200
    assert (await known.json()).keys() == (await unknown.json()).keys()


async def test_a_resend_too_soon_is_429_with_the_true_wait_in_body_and_header(guest: SessionClient) -> None:
    await guest.challenge()
    guest.harness.clock.advance(seconds=10)

    answer = await guest.request("POST", "/auth/request-otp", {"phoneNumber": NUMBER, "purpose": "deleteAccount"})

    body = await answer.json()
    assert (answer.status, body["error_code"], body["retry_after_seconds"]) == (429, "RATE_LIMITED", 20)
    assert answer.headers["Retry-After"] == "20"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"phoneNumber": "0791234567"},
        {"phoneNumber": 41791234567},
        {"phoneNumber": NUMBER, "channel": "pigeon"},
        {"phoneNumber": NUMBER, "purpose": "Login"},
        {"phoneNumber": NUMBER, "phone_number": NUMBER},
        {"phoneNumber": NUMBER, "admin": True},
    ],
)
async def test_a_request_of_another_shape_is_400_with_fields(guest: SessionClient, body: dict[str, object]) -> None:
    answer = await guest.request("POST", "/auth/request-otp", body)

    assert await code_of(answer) == (400, "INVALID_REQUEST")
    assert (await answer.json())["fields"]
    assert guest.harness.otp_sender.sent == []


async def test_a_session_has_exactly_its_fields(guest: SessionClient) -> None:
    session = await guest.sign_up()

    tokens = {"accessToken": guest.token, "refreshToken": session["refreshToken"]}
    assert session == tokens | {
        "expiresInSeconds": 3600,
        "refreshExpiresInSeconds": 604800,
        "userId": session["userId"],
        "deviceId": 1,
        "isNewUser": True,
        "requiresProfileSetup": True,
    }


async def test_wrong_codes_are_counted_in_the_answer(guest: SessionClient) -> None:
    challenge = await guest.challenge()

    left = []
    for _ in range(6):
        body = {"challengeId": challenge, "otp": "never", "device": DEVICE}
        answer = await guest.request("POST", "/auth/verify-otp", body)
        assert await code_of(answer) == (400, "INVALID_OTP")
        left.append((await answer.json())["attempts_remaining"])

    assert left == [4, 3, 2, 1, 0, 0]


async def test_refreshing_answers_tokens_only_and_reuse_is_401(guest: SessionClient) -> None:
    session = await guest.sign_up()
    body = {"refreshToken": session["refreshToken"], "attemptId": str(uuid4())}

    fresh = await guest.request("POST", "/auth/refresh-token", body)
    reused = await guest.request("POST", "/auth/refresh-token", body | {"attemptId": str(uuid4())})

    assert set(await fresh.json()) == {"accessToken", "refreshToken", "expiresInSeconds", "refreshExpiresInSeconds"}
    assert await code_of(reused) == (401, "INVALID_TOKEN")
    assert await code_of(await guest.request("GET", "/account")) == (401, "INVALID_TOKEN")


async def test_logging_out_ends_the_token(guest: SessionClient) -> None:
    await guest.sign_up()

    answer = await guest.request("POST", "/auth/logout")

    assert (answer.status, await answer.json()) == (200, {})
    assert await code_of(await guest.request("GET", "/account")) == (401, "INVALID_TOKEN")


async def test_a_ticket_is_for_thirty_seconds(guest: SessionClient) -> None:
    await guest.sign_up()

    body = await (await guest.request("POST", "/auth/ws-ticket")).json()

    assert body == {"ticket": body["ticket"], "expiresInSeconds": 30}
    assert (await guest.harness.sessions.redeem_ticket(body["ticket"])).device_id == 1


async def test_the_account_shows_every_field(guest: SessionClient) -> None:
    session = await guest.sign_up()

    body = await (await guest.request("GET", "/account")).json()

    nothing = dict.fromkeys(("username", "displayName", "bio", "pictureAttachmentId", "sealedProfile"))
    assert body == nothing | {
        "userId": session["userId"],
        "phoneNumber": "+41•••••••67",
        "settings": {
            "messagesFrom": "everyone",
            "discoverableByPhone": True,
            "showPresence": False,
            "deliveryReceipts": True,
            "readReceipts": True,
            "typingIndicators": True,
        },
        "createdAt": "2026-01-01T12:00:31.000Z",
    }


async def test_the_account_changes_by_name_and_null_clears(guest: SessionClient) -> None:
    await guest.sign_up()
    first = {"username": "Ann_1", "displayName": "é" * 100, "sealedProfile": "AAE=", "settings": {"showPresence": True}}
    await guest.request("PATCH", "/account", first)

    answer = await guest.request(
        "PATCH", "/account", {"bio": "x", "sealedProfile": None, "settings": {"readReceipts": False}}
    )

    body = await answer.json()
    assert (body["username"], body["displayName"], body["bio"]) == ("ann_1", "é" * 100, "x")
    assert body["sealedProfile"] is None
    assert (body["settings"]["showPresence"], body["settings"]["readReceipts"]) == (True, False)
    cleared = await (await guest.request("PATCH", "/account", {"settings": None})).json()
    assert (cleared["settings"]["showPresence"], cleared["settings"]["readReceipts"]) == (False, True)


@pytest.mark.parametrize(
    "change",
    [
        {"username": "ab"},
        {"username": "änne"},
        {"displayName": ""},
        {"displayName": "é" * 101},
        {"displayName": "a\u0000b"},
        {"bio": "x" * 501},
        {"sealedProfile": "A" * 10_928},
        {"sealedProfile": "AA"},
        {"pictureAttachmentId": "1"},
        {"settings": {"unknown": True}},
        {"settings": {"showPresence": "yes"}},
        {"settings": {"messagesFrom": "nobody"}},
        {"phoneNumber": NUMBER},
    ],
)
async def test_a_change_of_another_shape_is_400(guest: SessionClient, change: dict[str, object]) -> None:
    await guest.sign_up()

    assert await code_of(await guest.request("PATCH", "/account", change)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("username", ["ab", "änne", "", "x" * 31, "ann-1"])
async def test_a_username_that_cannot_be_is_told_the_rule_in_words(guest: SessionClient, username: str) -> None:
    await guest.sign_up()

    refused = await (await guest.request("PATCH", "/account", {"username": username})).json()

    rule = "must be 3 to 30 of the letters a-z, digits, _ and ."
    assert refused["fields"] == [{"field": "username", "problem": rule}]


async def test_a_cursor_that_cannot_be_shows_no_pattern(guest: SessionClient) -> None:
    await guest.sign_up()

    refused = await (await guest.request("GET", "/devices?cursor=x")).json()

    assert [each["field"] for each in refused["fields"]] == ["cursor"]
    assert "[0-9]" not in refused["fields"][0]["problem"]


async def test_a_taken_username_is_409(guest: SessionClient) -> None:
    await guest.sign_up()
    await guest.request("PATCH", "/account", {"username": "ann"})
    await guest.sign_up("+41791234568")

    assert await code_of(await guest.request("PATCH", "/account", {"username": "ANN"})) == (409, "USERNAME_TAKEN")


async def test_the_device_list_shows_every_field(guest: SessionClient) -> None:
    await guest.sign_up()

    body = await (await guest.request("GET", "/devices")).json()

    device = {"deviceId": 1, "name": "phone", "platform": "cli", "kind": "primary", "isCurrent": True}
    seen = {"linkedAt": "2026-01-01T12:00:31.000Z", "lastSeenOn": "2026-01-01"}
    assert body == {"devices": [device | seen], "epoch": 1, "maxDevices": 6, "nextCursor": None}
    assert (await (await guest.request("GET", "/devices?limit=1&cursor=1")).json())["devices"] == []


async def test_a_device_is_renamed_and_ended(guest: SessionClient) -> None:
    await guest.sign_up()

    renamed = await guest.request("PATCH", "/devices/1", {"name": "tablet"})
    missing = [await guest.request("DELETE", f"/devices/{number}") for number in ("2", "0", "x", "128", "1e0")]
    ended = await guest.request("DELETE", "/devices/1")

    assert (await renamed.json())["name"] == "tablet"
    assert {await code_of(answer) for answer in missing} == {(404, "NOT_FOUND")}
    assert (ended.status, await ended.json()) == (200, {})
    assert await code_of(await guest.request("GET", "/devices")) == (401, "INVALID_TOKEN")


async def test_no_token_and_a_bad_one_are_told_apart(guest: SessionClient) -> None:
    nothing = await guest.request("GET", "/account")
    headers = ("Bearer", "Bearer ", "Bearer x", "Basic eDp5", "x", "Bearer a b", "Bearer \u00e9")

    bad = [await guest.request("GET", "/account", Authorization=header) for header in headers]

    assert await code_of(nothing) == (401, "UNAUTHORIZED")
    assert {await code_of(answer) for answer in bad} == {(401, "INVALID_TOKEN")}
    assert await code_of(await guest.request("GET", "/account?access_token=x")) == (401, "UNAUTHORIZED")
