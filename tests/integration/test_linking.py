"""Linking as two devices meet it, and every way in which somebody else would like to be linked: docs/protocol.md, "Linking"."""

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.chain_checker import to_bytes
from tests.support.device_keys import DeviceKeys, base64_text
from tests.support.linking import Approver, NewDevice, link_device
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, RequestRefused
from vyry.signal_protocol.linking import LinkSecrets
from vyry.signal_protocol.primitives import DhPair
from vyry.signal_protocol.refusals import LinkMismatch
from vyry.storage.models import AccountRow, LinkRow


async def refusal_of(step: Coroutine[Any, Any, Any]) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as refusal:
        await step
    return refusal.value.status, str(refusal.value.code)


async def test_a_device_is_linked(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    waiting = await newcomer.fetch_link()
    approver = await Approver.scan_offer(ann, newcomer)
    scanned = await newcomer.fetch_link()
    await approver.approve()
    approved = await newcomer.fetch_link()
    tablet = await newcomer.complete(approved, ann.number)

    assert [each["status"] for each in (waiting, scanned, approved)] == ["waiting", "scanned", "approved"]
    assert approver.scanned == {
        "publicKey": base64_text(newcomer.pair.public),
        "name": "tablet",
        "platform": "desktop",
        "requestedFrom": "127.0.0.0/24",
        "expiresAt": newcomer.link["expiresAt"],
    }
    assert newcomer.derive_secrets(scanned).compare_code == approver.secrets.compare_code
    assert (tablet.device_id, tablet.session["isNewUser"]) == (2, False)
    shown = (await tablet.call("GET", "/devices"))["devices"]
    assert [(each["deviceId"], each["kind"], each["name"]) for each in shown][1] == (2, "linked", "tablet")


async def test_a_link_lives_for_120_seconds(node_server: NodeServer) -> None:
    newcomer = await NewDevice.request_link(node_server.node)

    left = datetime.fromisoformat(newcomer.link["expiresAt"]) - datetime.now(UTC)

    assert timedelta(seconds=110) < left <= timedelta(seconds=120)


async def test_the_news_comes_while_the_device_waits(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)

    first = asyncio.create_task(newcomer.fetch_link(wait=30))
    approver = await Approver.scan_offer(ann, newcomer)
    scanned = await first
    second = asyncio.create_task(newcomer.fetch_link(wait=30))
    await approver.approve()
    approved = await second

    assert (scanned["status"], approved["status"]) == ("scanned", "approved")
    assert approved["linkToken"]


async def test_what_was_not_heard_yet_is_told_at_once(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    approver = await Approver.scan_offer(ann, newcomer)

    scanned = await newcomer.fetch_link(wait=30)
    await approver.reject()
    rejected = await newcomer.fetch_link(wait=30)

    assert (scanned["status"], rejected["status"]) == ("scanned", "rejected")
    assert rejected["linkToken"] is None


async def test_provisioning_and_token_are_given_once(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    await (await Approver.scan_offer(ann, newcomer)).approve()

    looks = await asyncio.gather(*(newcomer.fetch_link() for _ in range(8)))
    again = await newcomer.fetch_link(wait=30)

    assert [bool(each["provisioning"]) for each in looks].count(True) == 1
    assert [bool(each["linkToken"]) for each in looks].count(True) == 1
    assert (again["status"], again["provisioning"], again["linkToken"]) == ("approved", None, None)
    (row,) = await LinkRow.filter(id=newcomer.link["linkId"]).values()
    given = next(each for each in looks if each["linkToken"])
    assert row["provisioning"] is None
    assert not any(each in str(row) for each in (newcomer.link["linkSecret"], given["linkToken"]))


async def test_who_hangs_up_takes_nothing_along(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    approver = await Approver.scan_offer(ann, newcomer)
    await newcomer.fetch_link()

    gone = asyncio.create_task(newcomer.fetch_link(wait=30))
    await asyncio.sleep(0.2)
    gone.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await gone
    await approver.approve()

    assert (await newcomer.fetch_link(wait=30))["linkToken"]


async def test_who_asks_again_is_answered_and_not_the_one_before(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    approver = await Approver.scan_offer(ann, newcomer)
    await newcomer.fetch_link()

    older = asyncio.create_task(newcomer.fetch_link(wait=30))
    await asyncio.sleep(0.2)
    newer = asyncio.create_task(newcomer.fetch_link(wait=30))
    assert (await older)["linkToken"] is None
    await approver.approve()

    assert (await newer)["linkToken"]


@pytest.mark.parametrize("secret", ["", "x" * 43, "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")])
async def test_a_wrong_secret_finds_what_an_unknown_link_finds(node_server: NodeServer, secret: str) -> None:
    newcomer, other = await NewDevice.request_link(node_server.node), await NewDevice.request_link(node_server.node)
    bodies = []

    for each in (secret, other.link["linkSecret"]):
        with pytest.raises(RequestRefused) as refusal:
            await newcomer.fetch_link(secret=each)
        bodies.append(refusal.value.body | {"request_id": ""})
    newcomer.link["linkId"] = "0198c2d4-7a00-7000-8000-000000000000"
    with pytest.raises(RequestRefused) as unknown:
        await newcomer.fetch_link()

    assert bodies == [unknown.value.body | {"request_id": ""}] * 2


async def test_a_foreign_account_gets_no_hold_of_a_link(node_server: NodeServer) -> None:
    ann, eve = await node_server.node.sign_up(), await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    approver = await Approver.scan_offer(ann, newcomer)
    key = {"publicKey": base64_text(bytes(32))}

    answers = [
        await refusal_of(eve.call("POST", f"{newcomer.path}/{step}", body))
        for step, body in (("scan", key), ("approve", {"provisioning": base64_text(b"mine")}), ("reject", None))
    ]
    await approver.approve()

    assert answers == [(404, "NOT_FOUND")] * 3
    assert (await newcomer.complete(await newcomer.fetch_link(), ann.number)).user_id == ann.user_id


async def test_a_key_that_the_node_swaps_changes_the_digits(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    approver = await Approver.scan_offer(ann, newcomer)
    mallory = DhPair.generate()

    await LinkRow.filter(id=newcomer.link["linkId"]).update(approver_public_key=mallory.public)
    swapped = await newcomer.fetch_link()

    assert newcomer.derive_secrets(swapped).compare_code != approver.secrets.compare_code
    assert to_bytes(approver.scanned["publicKey"]) == newcomer.offer.public_key
    without_the_qr = LinkSecrets.derive(
        type(newcomer.offer)(newcomer.offer.link_id, newcomer.offer.public_key, bytes(32)), mallory, mallory.public
    )
    assert without_the_qr.compare_code != newcomer.derive_secrets(swapped).compare_code
    await approver.approve()
    with pytest.raises(LinkMismatch):
        await newcomer.complete(swapped | {"provisioning": (await newcomer.fetch_link())["provisioning"]}, ann.number)


async def test_neither_provisioning_nor_token_is_good_twice(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    await (await Approver.scan_offer(ann, newcomer)).approve()
    seen = await newcomer.fetch_link()
    await newcomer.complete(seen, ann.number)

    replays = [await refusal_of(newcomer.complete(seen, ann.number)) for _ in range(3)]
    other = await NewDevice.request_link(node_server.node)
    await Approver.scan_offer(ann, other)
    with pytest.raises(LinkMismatch):
        other.derive_secrets(await other.fetch_link()).open(to_bytes(seen["provisioning"]))

    assert replays == [(409, "ALREADY_USED")] * 3
    assert len((await ann.call("GET", "/devices"))["devices"]) == 2


async def test_fifty_at_once_complete_one_link(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    await (await Approver.scan_offer(ann, newcomer)).approve()
    token = (await newcomer.fetch_link())["linkToken"]
    bodies = [{"linkToken": token} | DeviceKeys(ann.keys.identity).upload(0, 0) for _ in range(50)]

    outcomes = await asyncio.gather(
        *(node_server.node.call("POST", "/devices/links/complete", body) for body in bodies), return_exceptions=True
    )

    assert [isinstance(each, dict) for each in outcomes].count(True) == 1
    assert [each.code for each in outcomes if isinstance(each, RequestRefused)] == ["ALREADY_USED"] * 49


async def test_an_expired_link_is_over_at_every_step(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    waiting, scanned, approved = [await NewDevice.request_link(node_server.node) for _ in range(3)]
    late = await Approver.scan_offer(ann, scanned)
    await (await Approver.scan_offer(ann, approved)).approve()
    seen = await approved.fetch_link()
    await LinkRow.all().update(expires_at=datetime.now(UTC))

    assert await refusal_of(Approver.scan_offer(ann, waiting)) == (404, "NOT_FOUND")
    assert await refusal_of(late.approve()) == await refusal_of(late.reject()) == (404, "NOT_FOUND")
    assert await refusal_of(approved.complete(seen, ann.number)) == (401, "INVALID_TOKEN")
    assert {(await each.fetch_link(wait=30))["status"] for each in (waiting, scanned, approved)} == {"expired"}


async def test_another_identity_leaves_the_token_good(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    await (await Approver.scan_offer(ann, newcomer)).approve()
    seen = await newcomer.fetch_link()
    stranger, broken = DeviceKeys().upload(), DeviceKeys(ann.keys.identity).upload() | {"registrationId": 0}

    answers = [
        await refusal_of(
            node_server.node.call("POST", "/devices/links/complete", {"linkToken": seen["linkToken"]} | keys)
        )
        for keys in (stranger, broken)
    ]

    assert answers == [(409, "IDENTITY_MISMATCH"), (400, "INVALID_KEYS")]
    assert (await newcomer.complete(seen, ann.number)).device_id == 2


async def test_the_limit_reached_meanwhile_stops_the_completion(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    newcomer, later = await NewDevice.request_link(node_server.node), await NewDevice.request_link(node_server.node)
    await (await Approver.scan_offer(ann, newcomer)).approve()
    waiting = await Approver.scan_offer(ann, later)
    seen = await newcomer.fetch_link()

    for _ in range(5):
        await link_device(ann)

    assert await refusal_of(waiting.approve()) == (409, "DEVICE_LIMIT")
    assert await refusal_of(newcomer.complete(seen, ann.number)) == (409, "DEVICE_LIMIT")
    await ann.call("DELETE", "/devices/4")
    assert (await newcomer.complete(seen, ann.number)).device_id == 7


@pytest.mark.parametrize("how", ["logout", "new sign-up", "suspended"])
async def test_who_approved_and_is_gone_lets_nobody_in(node_server: NodeServer, how: str) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    await (await Approver.scan_offer(ann, newcomer)).approve()
    seen = await newcomer.fetch_link()

    if how == "logout":
        await ann.call("POST", "/auth/logout")
    elif how == "new sign-up":
        await node_server.node.sign_up(ann.number, with_keys=False)
    else:
        await AccountRow.filter(id=ann.user_id).update(suspended_at=datetime.now(UTC))

    assert await refusal_of(newcomer.complete(seen, ann.number)) == (401, "INVALID_TOKEN")


async def test_with_a_pin_nobody_is_let_in_without_it(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    await ann.call("PUT", "/account/pin", {"pin": "739518", "registrationLock": False})
    newcomer = await NewDevice.request_link(node_server.node)
    approver = await Approver.scan_offer(ann, newcomer)

    answers = [await refusal_of(approver.approve()), await refusal_of(approver.approve(pin="739519"))]
    status = (await newcomer.fetch_link())["status"]
    await approver.approve(pin="739518")

    assert (answers, status) == ([(403, "INVALID_PIN")] * 2, "scanned")
    assert (await newcomer.fetch_link())["status"] == "approved"


async def test_a_linked_device_links_another_and_alone_approves_what_it_scanned(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    tablet = await link_device(ann)
    newcomer = await NewDevice.request_link(node_server.node)
    approver = await Approver.scan_offer(tablet, newcomer)
    theirs = {"provisioning": base64_text(b"x")}

    assert await refusal_of(ann.call("POST", f"{newcomer.path}/approve", theirs)) == (403, "FORBIDDEN")
    await approver.approve()

    assert (await newcomer.complete(await newcomer.fetch_link(), ann.number)).device_id == 3


async def test_everybody_is_told_of_a_new_device_but_itself(node_server: NodeServer) -> None:
    ann, bo, _ = await node_server.sign_up_pair()
    stranger = await node_server.node.sign_up()

    tablet = await link_device(ann)
    await node_server.services.notice_poster.post_pending()

    notices = {}
    for name, device in (("ann", ann), ("bo", bo), ("stranger", stranger), ("tablet", tablet)):
        page = await device.collect(wait=0)
        notices[name] = [entry["notice"] for entry in page["entries"]]
    epoch = (await bo.fetch_device_list(ann.user_id, again=True))["epoch"]
    changed = {"name": "devicesChanged", "userId": ann.user_id, "epoch": epoch, "identityChanged": False}
    linked = {"name": "deviceLinked", "deviceId": 2, "deviceName": "tablet", "platform": "desktop"}
    assert notices == {"ann": [linked], "bo": [changed], "stranger": [], "tablet": []}


async def test_a_new_device_has_no_history_and_gets_all_that_comes(node_server: NodeServer) -> None:
    ann, bo, together = await node_server.sign_up_pair()
    await bo.post(together, ann, b"before")
    tablet = await link_device(ann)

    await bo.post(together, ann, b"after")
    await ann.fetch_device_list(ann.user_id, again=True)
    sync = ann.build_post(together, [bo.user_id, ann.user_id], b"sync")
    del sync["recipients"][1]["devices"][0]
    await ann.call("POST", "/messages", sync)
    await tablet.collect(wait=20)

    assert tablet.received[0]["seq"] == 1
    assert tablet.contents == [b"after", b"sync"]


@pytest.mark.parametrize(
    "change",
    [
        {"publicKey": base64_text(bytes(31))},
        {"publicKey": base64_text(bytes(33))},
        {"name": ""},
        {"name": "x" * 101},
        {"platform": "tv"},
    ],
)
async def test_a_strange_offer_is_refused(node_server: NodeServer, change: Body) -> None:
    body = {"publicKey": base64_text(bytes(32)), "name": "x", "platform": "web"} | change

    assert await refusal_of(node_server.node.call("POST", "/devices/links", body)) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(("size", "is_taken"), [(1, True), (65_536, True), (65_537, False), (0, False)])
async def test_provisioning_has_at_most_64_kib(node_server: NodeServer, size: int, is_taken: bool) -> None:
    ann = await node_server.node.sign_up()
    newcomer = await NewDevice.request_link(node_server.node)
    await Approver.scan_offer(ann, newcomer)
    step = ann.call("POST", f"{newcomer.path}/approve", {"provisioning": base64_text(bytes(size))})

    if is_taken:
        assert await step == {}
    else:
        assert await refusal_of(step) == (400, "INVALID_REQUEST")


async def test_links_that_are_over_are_forgotten(node_server: NodeServer) -> None:
    newcomer = await NewDevice.request_link(node_server.node)
    upkeep, expires_at = node_server.services.account_upkeep, datetime.fromisoformat(newcomer.link["expiresAt"])

    await upkeep.delete_expired(expires_at + timedelta(minutes=9), 100)
    kept = await LinkRow.filter(id=newcomer.link["linkId"]).count()
    await upkeep.delete_expired(expires_at + timedelta(minutes=11), 100)

    assert (kept, await LinkRow.filter(id=newcomer.link["linkId"]).count()) == (1, 0)
