"""PINs over REST, on a whole node: shapes, codes and what outlives a restart."""

import asyncio
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from tests.support.account_harness import CHEAP_PIN_COST
from tests.support.node_server import NodeBackends, NodeServer, open_node_server
from tests.support.rest_device import Body, Device, RequestRefused
from vyry.accounts.pin import Guesser
from vyry.in_process.pin_hasher import ArgonPinHasher
from vyry.kernel.ids import DeviceId
from vyry.storage.models import AccountPinRow


PIN, WRONG = "739251", "958310"
UNSET = {"isSet": False, "registrationLock": False, "attemptsRemaining": 10, "lockedUntil": None}
SET = {**UNSET, "isSet": True}
#: A device of another account.
ELSE = Guesser(UUID(int=1), DeviceId(1))


async def refusal(device: Device, path: str, body: Body, method: str = "POST") -> tuple[int, object, Body]:
    """How the node refuses this."""
    with pytest.raises(RequestRefused) as refused:
        await device.call(method, path, body)
    return refused.value.status, refused.value.code, refused.value.body


async def code(device: Device, purpose: str = "pinReset") -> Body:
    """A challenge to the own number and its code."""
    challenge = await device.node.call("POST", "/auth/request-otp", {"phoneNumber": device.number, "purpose": purpose})
    return {"challengeId": challenge["challengeId"], "otp": await device.node.latest_code(device.number)}


async def lock(device: Device) -> None:
    """Give ten wrong PINs."""
    for left in range(9, -1, -1):
        status, word, body = await refusal(device, "/account/pin/verify", {"pin": WRONG})
        assert (status, word, body["attempts_remaining"]) == (403, "INVALID_PIN", left)


async def test_a_pin_is_set_proven_changed_reset_and_removed(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)

    assert await ann.call("GET", "/account/pin") == UNSET
    assert await ann.call("PUT", "/account/pin", {"pin": PIN, "registrationLock": True}) == {
        **SET,
        "registrationLock": True,
    }
    assert await ann.call("POST", "/account/pin/verify", {"pin": PIN}) == {"verified": True}
    for given in ({}, {"currentPin": WRONG}):
        assert (await refusal(ann, "/account/pin", {"pin": "another", **given}, "PUT"))[:2] == (403, "INVALID_PIN")
    changed = {"pin": "a new horse", "currentPin": PIN, "registrationLock": False}
    assert await ann.call("PUT", "/account/pin", changed) == SET
    reset = {**await code(ann), "newPin": PIN}
    assert await ann.call("POST", "/account/pin/reset", reset) == SET
    assert (await refusal(ann, "/account/pin/reset", reset))[:2] == (400, "INVALID_OTP")
    assert await ann.call("POST", "/account/pin/remove", {"pin": PIN}) == UNSET


@pytest.mark.parametrize("pin", ["12345", "123456", "000000", "password", "x" * 129])
async def test_a_bad_pin_is_an_invalid_request_that_says_which_field(sqlite_node_server: NodeServer, pin: str) -> None:
    ann = await sqlite_node_server.node.sign_up(with_keys=False)

    status, word, body = await refusal(ann, "/account/pin", {"pin": pin}, "PUT")

    assert (status, word, body["fields"][0]["field"]) == (400, "INVALID_REQUEST", "pin")
    reset = {**await code(ann), "newPin": pin}
    assert (await refusal(ann, "/account/pin/reset", reset))[2]["fields"][0]["field"] == "newPin"
    assert await ann.call("GET", "/account/pin") == UNSET


async def test_a_lock_outlives_a_restart_and_an_empty_redis_until_a_reset(node_backends: NodeBackends) -> None:
    async with open_node_server(node_backends) as house:
        ann = await house.node.sign_up(with_keys=False)
        await ann.call("PUT", "/account/pin", {"pin": PIN})
        await lock(ann)
    if node_backends.redis:
        async with Redis.from_url(node_backends.redis) as redis:
            await redis.flushall()

    async with open_node_server(node_backends) as house:
        ann.node = house.node
        for path in ("/account/pin/verify", "/account/pin/remove"):
            status, word, body = await refusal(ann, path, {"pin": PIN})
            assert (status, word) == (423, "PIN_LOCKED")
            assert 86_000 < body["retry_after_seconds"] <= 86_400
        standing = await ann.call("GET", "/account/pin")
        assert (standing["attemptsRemaining"], standing["lockedUntil"] is None) == (0, False)
        assert await ann.call("POST", "/account/pin/reset", {**await code(ann), "newPin": PIN}) == SET
        assert await ann.call("POST", "/account/pin/verify", {"pin": PIN}) == {"verified": True}


async def test_sixty_wrong_pins_at_once_are_ten_tries(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)
    await ann.call("PUT", "/account/pin", {"pin": PIN})

    said = await asyncio.gather(*(refusal(ann, "/account/pin/verify", {"pin": WRONG}) for _ in range(60)))

    assert [status for status, _, _ in said].count(403) == 10
    assert [status for status, _, _ in said].count(423) == 50


async def test_the_database_holds_argon2id_and_not_the_pin(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up(with_keys=False)
    await ann.call("PUT", "/account/pin", {"pin": PIN})

    row = await AccountPinRow.get(account_id=ann.user_id)
    assert row.verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PIN not in str([row.account_id, row.verifier, row.changed_at])


async def test_the_other_devices_hear_of_it_in_their_mailboxes(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    other = await node_server.add_linked_device(ann)

    await ann.call("PUT", "/account/pin", {"pin": PIN})
    await refusal(ann, "/account/pin/verify", {"pin": WRONG})

    told = await _notices(node_server, other)
    assert [notice for notice in told if notice["name"].startswith("pin")] == [
        {"name": "pinChanged", "change": "set"},
        {"name": "pinFailed", "attemptsRemaining": 9},
    ]
    assert not [notice for notice in await _notices(node_server, ann) if notice["name"].startswith("pin")]


async def test_while_all_places_are_taken_other_routes_answer_and_one_account_waits_with_few_pins(
    sqlite_node_server: NodeServer,
) -> None:
    ann = await sqlite_node_server.node.sign_up(with_keys=False)
    await ann.call("PUT", "/account/pin", {"pin": PIN})
    hasher = sqlite_node_server.services.pins.hasher = ArgonPinHasher(CHEAP_PIN_COST, threads=2, each=1)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(hasher.acquire_slot(ELSE))
        waits = [asyncio.create_task(_status(ann, "POST", "/account/pin/verify", {"pin": PIN})) for _ in range(4)]
        turned_away = [await each for each in islice(asyncio.as_completed(waits), 3)]
        others = [await _status(ann, "GET", path) for path in ("/account", "/devices", "/account/pin", "/mailbox")]
    assert turned_away == [(429, "1")] * 3
    assert others == [(200, None)] * 4
    assert [(await each)[0] for each in waits].count(200) == 1
    assert (await ann.call("GET", "/account/pin"))["attemptsRemaining"] == 10


async def _status(device: Device, method: str, path: str, body: Any = None) -> tuple[int, str | None]:
    headers = {"Authorization": f"Bearer {device.token}"}
    url = f"{device.node.url}/api/v1{path}"
    async with device.node.http.request(method, url, json=body, headers=headers) as answer:
        return answer.status, answer.headers.get("Retry-After")


async def _notices(node_server: NodeServer, device: Device) -> list[Body]:
    """What stands in the mailbox of this device."""
    await node_server.services.notice_poster.post_pending()
    page = await device.call("GET", "/mailbox?wait=2")
    return [entry["notice"] for entry in page["entries"] if "notice" in entry]
