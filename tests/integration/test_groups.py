"""Groups as clients meet them, over REST."""

import uuid
from typing import Any

import pytest

from tests.support.canaries import collect_secrets, scan_plain_form
from tests.support.device_keys import base64_text
from tests.support.friendship import befriend_devices
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused


async def people(node_server: NodeServer, count: int) -> list[Device]:
    """Friends; the first of them knows the devices of all."""
    found = [await node_server.node.sign_up() for _ in range(count)]
    await befriend_devices(*found)
    for each in found:
        await found[0].fetch_device_list(each.user_id)
    return found


async def group_of(admin: Device, *others: Device) -> Body:
    return await admin.call(
        "POST",
        "/conversations",
        {"kind": "group", "memberIds": [each.user_id for each in others], "sealedInfo": base64_text(b"title")},
    )


async def refused(device: Device, method: str, path: str, body: Body | None = None) -> tuple[int, str, dict[str, Any]]:
    with pytest.raises(RequestRefused) as refusal:
        await device.call(method, path, body)
    return refusal.value.status, str(refusal.value.code), refusal.value.body


async def test_a_group_lives_from_its_first_member_to_its_last(node_server: NodeServer) -> None:
    ann, bo, cy = await people(node_server, 3)
    group = await group_of(ann, bo)
    path = f"/conversations/{group['conversationId']}"

    grown = await ann.call("POST", f"{path}/members", {"userIds": [cy.user_id, bo.user_id]})
    last_admin = await refused(ann, "DELETE", f"{path}/members/{ann.user_id}")
    await ann.call("PATCH", f"{path}/members/{cy.user_id}", {"role": "admin"})
    await ann.call("DELETE", f"{path}/members/{ann.user_id}")
    seen = await cy.call("GET", path)

    assert [(each["userId"], each["role"]) for each in group["members"]] == [
        (user, "admin" if user == ann.user_id else "member") for user in sorted((ann.user_id, bo.user_id))
    ]
    assert (group["kind"], group["version"], group["sealedInfo"]) == ("group", 1, base64_text(b"title"))
    assert (len(grown["members"]), grown["version"]) == (3, 2)
    assert last_admin[:2] == (409, "LAST_ADMIN")
    assert {each["userId"]: each["role"] for each in seen["members"]} == {bo.user_id: "member", cy.user_id: "admin"}
    assert (await refused(ann, "GET", path))[:2] == (404, "NOT_FOUND")
    await cy.call("DELETE", f"{path}/members/{bo.user_id}")
    await cy.call("DELETE", f"{path}/members/{cy.user_id}")
    assert (await cy.call("GET", "/conversations"))["conversations"] == []


async def test_a_change_for_another_version_is_refused_with_the_present_one(node_server: NodeServer) -> None:
    ann, bo = await people(node_server, 2)
    path = f"/conversations/{(await group_of(ann, bo))['conversationId']}"

    changed = await ann.call("PATCH", path, {"version": 1, "messageTimerSeconds": 60})
    status, code, body = await refused(ann, "PATCH", path, {"version": 1, "sealedInfo": None})

    assert (changed["version"], changed["messageTimerSeconds"]) == (2, 60)
    assert changed["sealedInfo"] == base64_text(b"title")
    assert (status, code, body["version"]) == (409, "VERSION_MISMATCH", 2)
    assert (await refused(bo, "PATCH", path, {"version": 2}))[:2] == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "direct"}, "userId"),
        ({"kind": "direct", "userId": str(uuid.UUID(int=1)), "memberIds": []}, "memberIds"),
        ({"kind": "group", "userId": str(uuid.UUID(int=1))}, "userId"),
        ({"kind": "group", "memberIds": [str(uuid.UUID(int=1))] * 2}, "memberIds"),
        ({"kind": "group", "memberIds": [str(uuid.UUID(int=n)) for n in range(1000)]}, "memberIds"),
        ({"kind": "group", "sealedInfo": base64_text(bytes(8193))}, "sealedInfo"),
    ],
)
async def test_fields_that_do_not_fit_are_named(sqlite_node_server: NodeServer, body: Body, field: str) -> None:
    ann = await sqlite_node_server.node.sign_up(with_keys=False)

    status, code, said = await refused(ann, "POST", "/conversations", body)

    assert (status, code, said["fields"][0]["field"]) == (400, "INVALID_REQUEST", field)


async def test_a_post_reaches_the_group_and_a_change_is_told_in_the_mailbox(node_server: NodeServer) -> None:
    ann, bo, cy = await people(node_server, 3)
    group = (await group_of(ann, bo, cy))["conversationId"]
    body = ann.build_post(group, [bo.user_id, cy.user_id], b"") | {
        "content": base64_text(b"shared"),
        "conversationVersion": 1,
    }
    for recipient in body["recipients"]:
        del recipient["devices"][0]["content"]

    accepted = await ann.call("POST", "/messages", body)
    await ann.call("DELETE", f"/conversations/{group}/members/{cy.user_id}")
    await node_server.services.notice_poster.post_pending()
    for device in (bo, cy):
        await device.collect(wait=5)
    late = await refused(ann, "POST", "/messages", body | {"messageId": str(uuid.uuid4())})

    assert accepted["copies"] == 2
    assert bo.contents == cy.contents == [b"shared"]
    told = {"name": "conversationChanged", "conversationId": group, "version": 2}
    assert [entry["notice"] for device in (bo, cy) for entry in device.received if "notice" in entry] == [told] * 2
    assert late[1] == "STALE_DEVICES"
    assert late[2]["extra"] == [{"userId": cy.user_id, "deviceId": 1}]


async def test_an_invite_lets_in_whoever_has_its_token_and_no_log_holds_it(
    sqlite_node_server: NodeServer, capfd: pytest.CaptureFixture[str]
) -> None:
    ann, bo, cy = await people(sqlite_node_server, 3)
    path = f"/conversations/{(await group_of(ann))['conversationId']}/invites"

    with collect_secrets() as secrets:
        made = await ann.call("POST", path, {"maxUses": 1})
        joined = await bo.call("POST", f"/invites/{made['token']}/join")
        refusals = [await refused(cy, "POST", f"/invites/{token}/join") for token in (made["token"], "A" * 32)]

    assert made["url"].endswith(f"/#/invites/{made['token']}")
    assert {each["userId"] for each in joined["members"]} == {ann.user_id, bo.user_id}
    assert [each[:2] for each in refusals] == [(404, "NOT_FOUND")] * 2
    assert [(each["uses"], each["maxUses"]) for each in (await ann.call("GET", path))["invites"]] == [(1, 1)]
    said = "".join(capfd.readouterr()).encode()
    assert ("invite token", made["token"].encode()) in secrets
    assert b"/invites/{token}/join" in said
    assert scan_plain_form(secrets, [("log", said)]) == set()
