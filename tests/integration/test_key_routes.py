"""Keys and conversations as clients meet them: names, shapes and refusals of docs/protocol.md, over a SQLite file."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.support.account_harness import AccountHarness, open_stores
from tests.support.device_keys import DeviceKeys, base64_text
from tests.unit.vyry.devices.test_prekeys import build_prekeys
from vyry.conversations.conversations import Conversations
from vyry.in_process.limiter import InProcessLimiter
from vyry.local_limits import BucketLimiter
from vyry.settings.settings import Role, load_settings
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.prekeys import TortoisePrekeys
from web.app import build_rest_app
from web.routes import ROUTES


if TYPE_CHECKING:
    from vyry.composition.services import Services


UNKNOWN = UUID(int=0xABCDEF)


class Person:
    """Somebody signed in, with the keys of a device that is not published yet."""

    def __init__(self, http: TestClient[Any, Any], token: str, user_id: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}
        self.user_id = user_id
        self.keys = DeviceKeys()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """One request below /api/v1: status, body, headers."""
        answer = await self._http.request(method, f"/api/v1{path}", json=body, headers=self._headers)
        return answer.status, await answer.json(), answer.headers

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str, str]:
        """Status, code and text of a refusal."""
        status, said, _ = await self.ask(method, path, body)
        return status, said["error_code"], said["error"]


class Node:
    """A node over a SQLite file."""

    def __init__(self, http: TestClient[Any, Any], harness: AccountHarness) -> None:
        self._http = http
        self._room = harness
        self._people = 0

    async def person(self) -> Person:
        """A new account with one device."""
        self._people += 1
        session = await self._room.sign_up(f"+4179123456{self._people}")
        return Person(self._http, session.tokens.access, str(session.user_id))


@pytest.fixture
async def node(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Node]:
    async with open_stores(sqlite_url) as stores:
        harness = AccountHarness(stores)
        services = SimpleNamespace(
            buckets=BucketLimiter(),
            clock=harness.clock,
            sessions=harness.sessions,
            prekeys=build_prekeys(TortoisePrekeys(), clock=harness.clock),
            conversations=Conversations(TortoiseConversations(), InProcessLimiter(), harness.clock),
        )
        settings = load_settings(Role.START, {"VYRY_DATA_DIR": str(tmp_path)})
        async with TestClient(TestServer(build_rest_app(settings, cast("Services", services), ROUTES))) as http:
            yield Node(http, harness)


@pytest.fixture
async def ann(node: Node) -> Person:
    return await node.person()


@pytest.fixture
async def bo(node: Node) -> Person:
    return await node.person()


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


async def test_the_status_tells_what_was_uploaded(bo: Person) -> None:
    upload = bo.keys.upload(one_time=2, pq=1)

    status, said, _ = await bo.ask("PUT", "/keys", upload)

    unused = b"".join(
        each["id"].to_bytes(4, "big") + decoded(each["key"]) for each in upload["oneTimePrekeys"] + upload["pqPrekeys"]
    )
    assert (status, said) == (
        200,
        {
            "oneTimeRemaining": 2,
            "pqRemaining": 1,
            "signedPrekeyId": upload["signedPrekey"]["id"],
            "signedPrekeyAgeSeconds": 0,
            "lastResortUses": 0,
            "issuedThrough": {"oneTime": 0, "pq": 0},
            "digest": base64_text(sha256(unused).digest()),
        },
    )
    assert (await bo.ask("GET", "/keys/status"))[1] == said


async def test_the_status_before_any_upload_is_empty(bo: Person) -> None:
    status, said, _ = await bo.ask("GET", "/keys/status")

    assert status == 200
    assert (said["oneTimeRemaining"], said["signedPrekeyId"], said["signedPrekeyAgeSeconds"]) == (0, None, None)
    assert said["digest"] == base64_text(sha256(b"").digest())


async def test_a_full_upload_fits_a_body(bo: Person) -> None:
    upload = bo.keys.upload(one_time=100, pq=100)

    status, said, _ = await bo.ask("PUT", "/keys", upload)

    assert len(json.dumps(upload)) < 256 << 10
    assert (status, said["oneTimeRemaining"], said["pqRemaining"]) == (200, 100, 100)


async def test_prekeys_are_added(bo: Person) -> None:
    await bo.ask("PUT", "/keys", bo.keys.upload(one_time=1, pq=1))
    more = {"oneTimePrekeys": bo.keys.one_time_prekeys(3), "pqPrekeys": bo.keys.pq_prekeys(2)}

    status, said, _ = await bo.ask("POST", "/keys/prekeys", more)
    again = await bo.refused("POST", "/keys/prekeys", more)

    assert (status, said["oneTimeRemaining"], said["pqRemaining"]) == (200, 4, 3)
    assert again[:2] == (400, "INVALID_KEYS")


async def test_the_keys_of_a_person_are_listed(ann: Person, bo: Person) -> None:
    upload = bo.keys.upload(one_time=1, pq=1)
    await bo.ask("PUT", "/keys", upload)

    status, listed, _ = await ann.ask("GET", f"/keys/{bo.user_id}")

    device = {name: upload[name] for name in ("registrationId", "identityDhKey", "identityDhSignature")}
    whole = {name: upload[name] for name in ("suite", "identityKey")}
    assert status == 200
    assert listed == {"userId": bo.user_id, "epoch": listed["epoch"], "devices": [{"deviceId": 1, **device}], **whole}


async def test_a_claim_brings_one_key_of_each_kind(ann: Person, bo: Person) -> None:
    upload = bo.keys.upload(one_time=1, pq=1)
    await bo.ask("PUT", "/keys", upload)

    status, claimed, headers = await ann.ask("POST", f"/keys/{bo.user_id}/claim", {})

    long_lived = ("suite", "registrationId", "identityKey", "identityDhKey", "identityDhSignature", "signedPrekey")
    assert (status, sorted(claimed)) == (200, ["bundles", "epoch"])
    assert claimed["bundles"] == [
        {name: upload[name] for name in long_lived}
        | {
            "deviceId": 1,
            "oneTimePrekey": upload["oneTimePrekeys"][0],
            "pqPrekey": upload["pqPrekeys"][0],
            "pqPrekeyIsLastResort": False,
        }
    ]
    assert {"RateLimit", "RateLimit-Policy"} <= headers.keys()


async def test_the_last_resort_follows_the_last_key(ann: Person, bo: Person) -> None:
    upload = bo.keys.upload(one_time=1, pq=1)
    await bo.ask("PUT", "/keys", upload)

    await ann.ask("POST", f"/keys/{bo.user_id}/claim", {"deviceIds": [1]})
    _, claimed, _ = await ann.ask("POST", f"/keys/{bo.user_id}/claim", {"deviceIds": [1]})
    _, status, _ = await bo.ask("GET", "/keys/status")

    [bundle] = claimed["bundles"]
    assert (bundle["oneTimePrekey"], bundle["pqPrekeyIsLastResort"]) == (None, True)
    assert bundle["pqPrekey"] == upload["pqLastResort"]
    assert (status["lastResortUses"], status["issuedThrough"]) == (1, {"oneTime": 1, "pq": 1})


async def test_the_seventh_claim_waits(ann: Person, bo: Person) -> None:
    for _ in range(6):
        await ann.ask("POST", f"/keys/{bo.user_id}/claim", {})

    status, said, headers = await ann.ask("POST", f"/keys/{bo.user_id}/claim", {})

    assert (status, said["error_code"]) == (429, "RATE_LIMITED")
    assert 590 <= said["retry_after_seconds"] == int(headers["Retry-After"]) <= 600


async def test_a_claim_needs_no_body(ann: Person, bo: Person) -> None:
    await bo.ask("PUT", "/keys", bo.keys.upload())

    status, said, _ = await ann.ask("POST", f"/keys/{bo.user_id}/claim")

    assert (status, len(said["bundles"])) == (200, 1)


@pytest.mark.parametrize("claim", [{"deviceIds": [1, 2]}, {"deviceIds": [127]}])
async def test_an_unknown_device_is_not_found(ann: Person, bo: Person, claim: dict[str, object]) -> None:
    await bo.ask("PUT", "/keys", bo.keys.upload())

    assert (await ann.refused("POST", f"/keys/{bo.user_id}/claim", claim))[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize("user", [f"{UNKNOWN}", "me", f"{UNKNOWN}".upper()])
async def test_an_unknown_person_is_not_found(ann: Person, user: str) -> None:
    assert (await ann.refused("GET", f"/keys/{user}"))[:2] == (404, "NOT_FOUND")
    assert (await ann.refused("POST", f"/keys/{user}/claim", {}))[:2] == (404, "NOT_FOUND")


async def test_another_identity_is_a_mismatch(bo: Person) -> None:
    await bo.ask("PUT", "/keys", bo.keys.upload())

    assert (await bo.refused("PUT", "/keys", DeviceKeys().upload()))[:2] == (409, "IDENTITY_MISMATCH")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"registrationId": "77"}, "INVALID_REQUEST"),
        ({"registrationId": True}, "INVALID_REQUEST"),
        ({"suite": "olm"}, "INVALID_REQUEST"),
        ({"suite": None}, "INVALID_REQUEST"),
        ({"oneTimePrekeys": None}, "INVALID_REQUEST"),
        ({"oneTimePrekeys": [{"id": 1.5, "key": ""}]}, "INVALID_REQUEST"),
        ({"oneTimePrekeys": [{"id": 1}]}, "INVALID_REQUEST"),
        ({"pqLastResort": [1]}, "INVALID_REQUEST"),
        ({"identityKey": "_" * 44}, "INVALID_REQUEST"),
        ({"surprise": 1}, "INVALID_REQUEST"),
        ({"registrationId": 0}, "INVALID_KEYS"),
        ({"identityKey": "AAAA"}, "INVALID_KEYS"),
        ({"identityDhKey": None}, "INVALID_KEYS"),
        ({"suite": "libsignal"}, "INVALID_KEYS"),
        ({"oneTimePrekeys": [{"id": 0, "key": "AAAA"}]}, "INVALID_KEYS"),
        ({"oneTimePrekeys": [{"id": 1, "key": "AAAA"}]}, "INVALID_KEYS"),
    ],
)
async def test_a_wrong_type_is_a_bad_request_and_wrong_bytes_are_bad_keys(
    bo: Person, changes: dict[str, object], code: str
) -> None:
    status, said, _ = await bo.ask("PUT", "/keys", bo.keys.upload() | changes)

    assert (status, said["error_code"]) == (400, code)
    assert set(said["fields"][0]) == {"field", "problem"}


async def test_more_than_100_keys_of_a_kind_are_refused(bo: Person) -> None:
    many = [{"id": number, "key": "AAAA"} for number in range(1, 102)]

    assert (await bo.refused("PUT", "/keys", bo.keys.upload() | {"oneTimePrekeys": many}))[:2] == (
        400,
        "INVALID_REQUEST",
    )


async def test_a_direct_conversation_is_opened_once(ann: Person, bo: Person) -> None:
    status, opened, _ = await ann.ask("POST", "/conversations", {"kind": "direct", "userId": bo.user_id})
    again, same, _ = await bo.ask("POST", "/conversations", {"kind": "direct", "userId": ann.user_id})

    assert (status, again, same) == (201, 200, opened)
    assert opened.keys() == {
        "conversationId", "kind", "members", "sealedInfo", "version", "messageTimerSeconds", "lastActivityAt", "createdAt", "invited",
    }  # fmt: skip
    assert {each["userId"]: each["role"] for each in opened["members"]} == {
        ann.user_id: "member",
        bo.user_id: "member",
    }
    assert opened.pop("invited") == []
    assert (await bo.ask("GET", f"/conversations/{opened['conversationId']}"))[1] == opened


@pytest.mark.parametrize("name", ["conversations", "conversations?limit=200"])
async def test_conversations_are_listed(ann: Person, bo: Person, name: str) -> None:
    _, opened, _ = await ann.ask("POST", "/conversations", {"kind": "direct", "userId": bo.user_id})

    status, said, _ = await bo.ask("GET", f"/{name}")

    assert opened.pop("invited") == []
    assert (status, said) == (200, {"conversations": [opened], "nextCursor": None})


async def test_the_list_goes_on_after_the_cursor(node: Node, ann: Person) -> None:
    others = [await node.person() for _ in range(3)]
    for other in others:
        await ann.ask("POST", "/conversations", {"kind": "direct", "userId": other.user_id})

    _, first, _ = await ann.ask("GET", "/conversations?limit=2")
    _, rest, _ = await ann.ask("GET", f"/conversations?limit=2&cursor={first['nextCursor']}")

    assert (len(first["conversations"]), len(rest["conversations"]), rest["nextCursor"]) == (2, 1, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=7", "limit=1&limit=2", "page=2"])
async def test_a_strange_page_is_refused(ann: Person, query: str) -> None:
    assert (await ann.refused("GET", f"/conversations?{query}"))[:2] == (400, "INVALID_REQUEST")


async def test_outsiders_see_no_conversation(node: Node, ann: Person, bo: Person) -> None:
    _, opened, _ = await ann.ask("POST", "/conversations", {"kind": "direct", "userId": bo.user_id})
    eve = await node.person()

    hidden = await eve.refused("GET", f"/conversations/{opened['conversationId']}")

    assert hidden == await eve.refused("GET", f"/conversations/{UNKNOWN}")
    assert hidden[:2] == (404, "NOT_FOUND")


async def test_a_conversation_needs_somebody_else_who_is_there(ann: Person) -> None:
    oneself = await ann.refused("POST", "/conversations", {"kind": "direct", "userId": ann.user_id})
    nobody = await ann.refused("POST", "/conversations", {"kind": "direct", "userId": str(UNKNOWN)})

    assert oneself[:2] == (400, "INVALID_REQUEST")
    assert nobody[:2] == (404, "NOT_FOUND")
