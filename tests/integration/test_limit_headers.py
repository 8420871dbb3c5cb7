"""What a node with its limits on says of them: GET /limits, and the headers of limited routes."""

import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio

from scripts.nodes import AllInOneProcess
from tests.support.device_socket import DeviceSocket
from tests.support.rest_device import Body, Device, NodeClient, RequestRefused, unused_number
from tests.support.tus_client import UPLOADS_PATH, send_request
from vyry.limits import QUOTAS
from web.routes import ROUTES


#: One address signs up everybody here, and buckets refill slowly enough to be told exactly.
ENVIRONMENT = {
    "VYRY_LIMITS": "on",
    "VYRY_LIMIT_OTP_NETWORK": "1000/60",
    "VYRY_LIMIT_NEW_CONTACTS": "2/86400",
    "VYRY_LIMIT_POST": "60/6000",
    "VYRY_LIMIT_POST_BYTES": "10000/8640000",
    "VYRY_LIMIT_PIN_CHECKS": "5/50000",
    "VYRY_LIMIT_CLAIM_STRANGERS": "2/3600",
    "VYRY_LIMIT_CONVERSATION_CHANGES": "2/3600",
    "VYRY_MEMBER_INVITES": "5",
}
CHANGED = {
    "otp_network": [(1000, 60)],
    "new_contacts": [(2, 86_400)],
    "post": [(60, 6000)],
    "post_bytes": [(10_000, 8_640_000)],
    "pin_checks": [(5, 50_000)],
    "claim_strangers": [(2, 3600)],
    "conversation_changes": [(2, 3600)],
    "member_invites": [(5, 2_592_000)],
}


@pytest.fixture(scope="module")
def alone() -> Iterator[AllInOneProcess]:
    with AllInOneProcess(ENVIRONMENT) as node:
        yield node
        assert '"event":"unhandled_error"' not in node.log()


@pytest_asyncio.fixture
async def node(alone: AllInOneProcess) -> AsyncIterator[NodeClient]:
    async with aiohttp.ClientSession() as http:
        yield NodeClient(http, alone.url, alone.otp_file)


#: What the test of true figures leaves.
LEFT = {
    ("otp_number", 30): 0,
    ("otp_number", 600): 2,
    ("otp_number", 86_400): 9,
    ("keys", 3600): 19,
    ("claim_all", 3600): 59,
    ("claim_others", 3600): 49,
    ("claim_strangers", 3600): 1,
    ("post", 6000): 59,
    ("post_bytes", 8_640_000): 9_000,
    ("new_contacts", 86_400): 1,
    ("pin_tries", 86_400): 10,
    ("pin_checks", 50_000): 4,
    ("sockets_account", 0): 5,
    ("sockets_address", 0): 49,
    ("search", 60): 60,
}


async def left(device: Device) -> dict[tuple[str, int], int]:
    """What remains, by name and seconds."""
    rows = (await device.call("GET", "/limits"))["limits"]
    return {(row["name"], row["windowSeconds"]): row["remaining"] for row in rows}


async def headers_of(device: Device, method: str, path: str, body: Body | None = None) -> tuple[int, str, str]:
    """Status, RateLimit-Policy and RateLimit of an answer."""
    authorization = {"Authorization": f"Bearer {device.token}"}
    url = f"{device.node.url}/api/v1{path}"
    async with device.node.http.request(method, url, json=body, headers=authorization) as answer:
        if answer.status == 429:
            assert answer.headers["Retry-After"] == str((await answer.json())["retry_after_seconds"])
        return answer.status, answer.headers["RateLimit-Policy"], answer.headers["RateLimit"]


async def test_every_window_of_the_table_is_told(node: NodeClient) -> None:
    device = await node.sign_up(with_keys=False)

    told = [
        (row["name"], row["limit"], row["windowSeconds"]) for row in (await device.call("GET", "/limits"))["limits"]
    ]

    table = {name: [(each.limit, each.seconds) for each in quota.windows] for name, quota in QUOTAS.items()}
    expected = [(name, *window) for name, windows in (table | CHANGED).items() for window in windows]
    assert told == expected


async def test_what_is_left_is_true_and_looking_takes_nothing(node: NodeClient) -> None:
    ann, bo = await node.sign_up(), await node.sign_up()
    line = await DeviceSocket.connect_and_resume(ann)
    conversation = await ann.open_direct(bo)
    await bo.call("POST", f"/keys/{ann.user_id}/claim")
    with pytest.raises(Exception, match="INVALID_PIN"):
        await ann.call("POST", "/account/pin/verify", {"pin": "271828"})
    await ann.post(conversation, bo, b"x" * 1000)
    with pytest.raises(Exception, match="NOT_FOUND"):
        await line.request(
            "signal", userId="0198c2d4-7a00-7000-8000-000000000000", callId=bo.user_id, kind="end", content=b""
        )

    looks = [await left(ann) for _ in range(3)]

    assert looks[-1].items() >= LEFT.items()
    await line.close()


async def test_a_limited_route_says_how_it_stands_and_a_429_which_limit_it_was(node: NodeClient) -> None:
    ann = await node.sign_up()
    people = [await node.sign_up() for _ in range(3)]

    said = [
        await headers_of(ann, "POST", "/conversations", {"kind": "direct", "userId": person.user_id})
        for person in people
    ]

    assert said[0] == (201, '"new_contacts";q=2;w=86400', '"new_contacts";r=1;t=86400')
    assert said[2][:2] == (429, '"new_contacts";q=2;w=86400')
    assert re.fullmatch(r'"new_contacts";r=0;t=\d+', said[2][2])


async def test_a_search_too_many_is_refused(node: NodeClient) -> None:
    ann = await node.sign_up(with_keys=False)
    paths = [f"/users/by-username/nobody_{number}" for number in range(61)]

    said = [await headers_of(ann, "GET", path) for path in paths]

    assert [each[0] for each in said] == [404] * 60 + [429]
    assert said[60][1] == '"search";q=60;w=60'


async def test_looking_people_up_and_asking_them_tell_their_limits(node: NodeClient) -> None:
    ann, bo = await node.sign_up(with_keys=False), await node.sign_up(with_keys=False)

    found = await headers_of(ann, "POST", "/users/lookup", {"phoneNumbers": [bo.number]})
    missed = await headers_of(ann, "POST", "/users/lookup", {"phoneNumbers": [unused_number()]})
    asked = await headers_of(ann, "POST", "/friends/requests", {"userId": bo.user_id})

    assert found == (200, '"lookup";q=1000;w=4000', '"lookup";r=999;t=4')
    assert (missed[:2], missed[2][:16]) == (found[:2], '"lookup";r=994;t')
    assert asked == (201, '"new_contacts";q=2;w=86400', '"new_contacts";r=1;t=86400')


async def test_posts_and_claims_tell_each_of_their_limits(node: NodeClient) -> None:
    ann, bo = await node.sign_up(), await node.sign_up()
    conversation = await ann.open_direct(bo)
    await ann.fetch_device_list(bo.user_id)

    post = await headers_of(ann, "POST", "/messages", ann.build_post(conversation, [bo.user_id], b"12345"))
    claim = await headers_of(ann, "POST", f"/keys/{bo.user_id}/claim")
    assert post[1] == '"post";q=60;w=6000, "post_bytes";q=10000;w=8640000'
    assert post[2] == '"post";r=59;t=100, "post_bytes";r=9995;t=4320'
    archive = await headers_of(ann, "GET", "/account/export")

    assert archive[:2] == (200, '"export";q=5;w=3600')
    others = '"claim_others";q=50;w=3600, "claim_all";q=60;w=3600'
    assert claim[:2] == (200, f'"claim_target";q=6;w=3600, "claim_strangers";q=2;w=3600, {others}')


async def test_a_claim_beyond_the_share_of_strangers_gets_the_last_resort_and_is_not_refused(node: NodeClient) -> None:
    bo, *strangers = [await node.sign_up() for _ in range(4)]

    claims = [await each.call("POST", f"/keys/{bo.user_id}/claim") for each in strangers]
    again = await headers_of(strangers[0], "POST", f"/keys/{bo.user_id}/claim")

    bundles = [each["bundles"][0] for each in claims]
    assert [each["oneTimePrekey"] is None for each in bundles] == [False, False, True]
    assert [each["pqPrekeyIsLastResort"] for each in bundles] == [False, True, True]
    assert (await bo.call("GET", "/keys/status"))["lastResortUses"] == 3
    assert again[:2] == (200, '"claim_target";q=6;w=3600, "claim_strangers";q=2;w=3600')
    assert re.match(r'"claim_target";r=4;t=\d+, "claim_strangers";r=0;t=\d+', again[2])


async def test_uploads_of_keys_are_counted_for_the_account_before_they_are_read(node: NodeClient) -> None:
    ann = await node.sign_up()
    whole, more = ann.keys.upload(1, 1), {"oneTimePrekeys": ann.keys.one_time_prekeys(1)}

    first = await headers_of(ann, "POST", "/keys/prekeys", more)
    said = [await headers_of(ann, "PUT", "/keys", whole | {"suite": "none"}) for _ in range(18)]
    refused = [
        await headers_of(ann, method, path, body)
        for method, path, body in (("PUT", "/keys", whole), ("POST", "/keys/prekeys", more))
    ]

    assert first[:2] == (200, '"keys";q=20;w=3600')
    assert {status for status, _, _ in said} == {400}
    assert [each[:2] for each in refused] == [(429, '"keys";q=20;w=3600')] * 2


async def test_adding_people_who_were_never_met_counts_them_all(node: NodeClient) -> None:
    ann, *strangers = [await node.sign_up() for _ in range(4)]
    group = (await ann.call("POST", "/conversations", {"kind": "group"}))["conversationId"]
    some, all_of_them = ([each.user_id for each in strangers[:count]] for count in (2, 3))

    too_many = await headers_of(ann, "POST", f"/conversations/{group}/members", {"userIds": all_of_them})
    added = await headers_of(ann, "POST", f"/conversations/{group}/members", {"userIds": some})

    assert too_many[:2] == (429, '"new_contacts";q=2;w=86400')
    assert added[0] == 200
    assert added[1:] == (
        '"new_contacts";q=2;w=86400, "group_members";q=2000;w=86400',
        '"new_contacts";r=0;t=86400, "group_members";r=1998;t=86400',
    )
    assert (await left(ann)).items() >= {("groups", 86_400): 49, ("group_members", 86_400): 1998}.items()


async def test_changes_of_conversations_are_counted_and_nobody_is_kept_from_leaving(node: NodeClient) -> None:
    ann, bo = await node.sign_up(with_keys=False), await node.sign_up(with_keys=False)
    group = f"/conversations/{(await ann.call('POST', '/conversations', {'kind': 'group'}))['conversationId']}"
    token = (await ann.call("POST", f"{group}/invites", {}))["token"]
    edit, role = {"version": 1, "messageTimerSeconds": 60}, {"role": "member"}

    edited = await headers_of(ann, "PATCH", group, edit)
    own = f"{group}/members/{ann.user_id}"
    assigned = await headers_of(ann, "PATCH", own, role)
    refused = [await headers_of(ann, "PATCH", *each) for each in ((group, edit), (own, role))]
    joined = []
    for _ in range(3):
        joined.append((await headers_of(bo, "POST", f"/invites/{token}/join"))[0])
        if joined[-1] == 200:
            await bo.call("DELETE", f"{group}/members/{bo.user_id}")

    policy = '"conversation_changes";q=2;w=3600'
    assert (edited[:2], assigned[:2]) == ((200, policy), (409, policy))
    assert [each[:2] for each in refused] == [(429, policy)] * 2
    assert joined == [200, 200, 429]
    await ann.call("DELETE", own)


async def test_codes_links_and_sockets_tell_their_limits_before_anybody_is_known(node: NodeClient) -> None:
    ann = await node.sign_up(with_keys=False)

    code = await headers_of(ann, "POST", "/auth/request-otp", {"phoneNumber": unused_number()})
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    link = await headers_of(ann, "POST", "/devices/links", {"publicKey": key, "name": "pad", "platform": "cli"})
    line = await DeviceSocket.connect(ann)

    assert '"otp_number"' in code[1]
    assert link[:2] == (201, '"link_sessions";q=6;w=720')
    answer = line.ws._response
    assert answer.headers["RateLimit-Policy"] == '"sockets_account";q=6, "sockets_address";q=50'
    assert answer.headers["RateLimit"] == '"sockets_account";r=5;t=0, "sockets_address";r=49;t=0'
    await line.close()


async def test_uploads_tell_each_of_their_limits(node: NodeClient) -> None:
    said = await send_request(await node.sign_up(with_keys=False), "POST", UPLOADS_PATH, Upload_Length="1000")

    assert said.headers["RateLimit-Policy"] == '"upload";q=50;w=60, "upload_bytes";q=1073741824;w=86400'
    assert '"upload_bytes";r=1073740824' in said.headers["RateLimit"]


async def test_changing_the_account_tells_how_many_names_may_rest(node: NodeClient) -> None:
    ann = await node.sign_up(with_keys=False)
    names = [f"name{number}_{ann.user_id[-12:]}" for number in range(5)]

    said = [await headers_of(ann, "PATCH", "/account", {"username": name}) for name in names]

    assert said[0] == (200, '"usernames";q=3', '"usernames";r=3;t=0')
    assert [each[0] for each in said] == [200, 200, 200, 200, 429]
    assert re.fullmatch(r'"usernames";r=0;t=\d+', said[4][2])


async def test_a_pin_that_is_right_and_one_that_is_not_set_are_counted_too(node: NodeClient) -> None:
    ann, bo = await node.sign_up(with_keys=False), await node.sign_up(with_keys=False)
    pin, another = {"pin": "739251"}, {"pin": "correct horse", "currentPin": "739251"}

    said = [
        await headers_of(ann, "PUT", "/account/pin", pin),
        await headers_of(ann, "POST", "/account/pin/verify", pin),
        await headers_of(ann, "PUT", "/account/pin", another),
        await headers_of(ann, "POST", "/account/pin/remove", {"pin": another["pin"]}),
    ]
    with pytest.raises(RequestRefused, match="INVALID_PIN"):
        await ann.call("POST", "/account/pin/verify", pin)
    refused = [
        await headers_of(ann, *route, pin) for route in (("PUT", "/account/pin"), ("POST", "/account/pin/verify"))
    ]

    assert [each[2][:16] for each in said] == [f'"pin_checks";r={left}' for left in (4, 3, 2, 1)]
    assert [each[:2] for each in refused] == [(429, '"pin_checks";q=5;w=50000')] * 2
    assert (await headers_of(bo, "PUT", "/account/pin", pin))[0] == 200


async def test_invitations_joins_and_recovery_codes_tell_their_limits(node: NodeClient) -> None:
    ann, device = await node.sign_up(with_keys=False), {"name": "pad", "platform": "cli"}
    token = (await ann.call("POST", "/invitations", {}))["token"]
    wrong = {"userId": ann.user_id, "recoveryCode": "000G-40R4-0M30-E209-185G-R38E-1W2P-FZX5", "device": device}

    invited = await headers_of(ann, "POST", "/invitations", {})
    joined = await headers_of(ann, "POST", "/auth/join", {"inviteToken": token, "device": device})
    code = await headers_of(ann, "POST", "/account/recovery-code")
    for refusal in [*["INVALID_RECOVERY_CODE"] * 5, "RATE_LIMITED"]:
        with pytest.raises(RequestRefused, match=refusal):
            await ann.call("POST", "/auth/recover", wrong)

    assert invited == (201, '"member_invites";q=5;w=2592000', '"member_invites";r=3;t=2592000')
    assert joined[:2] == (201, '"join";q=300;w=3600')
    assert code[:2] == (200, '"pin_checks";q=5;w=50000')


#: The routes that have a limit of their own.
TRIED = {
    "GET /account/export",
    "POST /account/delete",
    "POST /account/recovery-code",
    "POST /auth/join",
    "POST /auth/recover",
    "POST /invitations",
    "PUT /account/pin",
    "POST /account/pin/remove",
    "POST /account/pin/reset",
    "POST /account/pin/verify",
    "PATCH /account",
    "POST /attachments",
    "POST /auth/request-otp",
    "POST /auth/unlock",
    "POST /conversations",
    "POST /conversations/{conversationId}/members",
    "PATCH /conversations/{conversationId}",
    "PATCH /conversations/{conversationId}/members/{userId}",
    "POST /invites/{token}/join",
    "POST /devices/links",
    "POST /devices/links/{linkId}/approve",
    "POST /friends/requests",
    "POST /keys/prekeys",
    "POST /keys/{userId}/claim",
    "PUT /keys",
    "POST /messages",
    "GET /users/by-username/{username}",
    "POST /users/lookup",
    "GET /ws",
}


def test_the_routes_tried_here_are_all_the_limited_ones() -> None:
    limited = {f"{route.method} {route.path.removeprefix('/api/v1')}" for route in ROUTES if route.documented_quota}

    assert limited == TRIED
