"""Tokens at the doors of a running node: the hostile catalogue, secrets used for what they are not, tokens in URLs, sessions that end while somebody waits."""

import asyncio
import base64
import json
import uuid
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.device_socket import DeviceSocket
from tests.support.hostile_tokens import HOSTILE_TOKENS, TokenForger
from tests.support.node_server import NodeServer, wait_until
from tests.support.rest_device import Device, RequestRefused
from vyry.kernel.ids import MailboxKey
from vyry.storage.database import connection, database_guard
from vyry.storage.models import AccountEventRow, DeviceRow


async def status(
    node_server: NodeServer, method: str, path: str, *, headers: dict[str, str] | None = None, body: Any = None
) -> tuple[int, str]:
    """What the node answers, status and code."""
    url = f"{node_server.node.url}/api/v1{path}"
    async with node_server.node.http.request(method, url, headers=headers, json=body) as answer:
        content = await answer.json(content_type=None)
        return answer.status, str((content or {}).get("error_code", ""))


def forger(node_server: NodeServer, device: Device) -> TokenForger:
    """Somebody with the node's secret and this device's token."""
    payload = device.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return TokenForger(node_server.settings.jwt_secret.get_secret_value().encode(), claims)


async def test_no_hostile_token_gets_through_the_door(sqlite_node_server: NodeServer) -> None:
    device = await sqlite_node_server.node.sign_up(with_keys=False)
    attacker = forger(sqlite_node_server, device)
    asked = {name: forge(attacker) for name, forge in HOSTILE_TOKENS.items()}
    # A header line cannot carry the rest: they are tried on the verifier alone (tests/unit/vyry/accounts/test_access_tokens.py).
    carried = {name: token for name, token in asked.items() if token.isascii() and token.isprintable()}

    answers = {
        name: await status(sqlite_node_server, "GET", "/account", headers={"Authorization": f"Bearer {token}"})
        for name, token in carried.items()
    }

    assert len(answers) >= 180
    assert {name: said for name, said in answers.items() if said != (401, "INVALID_TOKEN")} == {}
    assert (
        await status(
            sqlite_node_server, "GET", "/account", headers={"Authorization": f"Bearer {attacker.good_token()}"}
        )
    )[0] == 200


async def secrets_of(device: Device) -> dict[str, str]:
    """One secret of each kind."""
    link = await device.node.call(
        "POST", "/devices/links", {"publicKey": "A" * 43 + "=", "name": "x", "platform": "cli"}
    )
    return {
        "access": device.token,
        "refresh": device.session["refreshToken"],
        "ticket": (await device.call("POST", "/auth/ws-ticket"))["ticket"],
        "link": link["linkSecret"],
    }


async def test_a_secret_is_good_for_nothing_but_its_own_use(sqlite_node_server: NodeServer) -> None:
    device = await sqlite_node_server.node.sign_up(with_keys=False)
    attempt = str(uuid.uuid4())

    for kind, secret in (await secrets_of(device)).items():
        uses = {
            "access": status(sqlite_node_server, "GET", "/account", headers={"Authorization": f"Bearer {secret}"}),
            "refresh": status(
                sqlite_node_server, "POST", "/auth/refresh-token", body={"refreshToken": secret, "attemptId": attempt}
            ),
            "ticket": status(sqlite_node_server, "GET", f"/ws?ticket={secret}"),
            "registration": status(
                sqlite_node_server,
                "POST",
                "/auth/unlock",
                body={"registrationToken": secret, "pin": "482913", "device": {"name": "x", "platform": "cli"}},
            ),
        }
        answers = {use: await asked for use, asked in uses.items() if use != kind or asked.close()}
        # A token that is far too long for the field is refused as such.
        assert set(answers.values()) <= {(401, "INVALID_TOKEN"), (400, "INVALID_REQUEST")}, (kind, answers)


@pytest.mark.parametrize("path", ["/account?{}={}", "/ws?{}={}", "/mailbox?{}={}"])
@pytest.mark.parametrize("name", ["token", "access_token", "accessToken", "ticket", "jwt"])
async def test_a_token_in_a_url_opens_nothing_and_is_not_logged(
    sqlite_node_server: NodeServer, path: str, name: str
) -> None:
    device = await sqlite_node_server.node.sign_up(with_keys=False)

    with capture_logs() as lines:
        answer = await status(sqlite_node_server, "GET", path.format(name, device.token))

    assert answer[0] == 401
    assert device.token not in str(lines)
    assert device.token.split(".")[2] not in str(lines)


async def test_renewing_takes_only_a_living_token_of_the_same_device(node_server: NodeServer) -> None:
    ann, bo = await node_server.node.sign_up(with_keys=False), await node_server.node.sign_up(with_keys=False)
    line = await DeviceSocket.connect_and_resume(ann)
    ended = await node_server.node.sign_up(with_keys=False)
    await ended.call("POST", "/auth/logout")
    expired = forger(node_server, ann)
    expired.claims.update(iat=expired.now - 7200, exp=expired.now - 3600)

    for token in (bo.token, ended.token, expired.good_token(), ann.session["refreshToken"], "x"):
        with pytest.raises(RequestRefused, match="INVALID_TOKEN"):
            await line.request("renew", accessToken=token)

    assert (await line.request("renew", accessToken=ann.token))["expiresAt"]
    await line.close()


async def test_who_waits_for_mail_with_a_session_that_ends_gets_nothing_more(node_server: NodeServer) -> None:
    bo = await node_server.node.sign_up()
    mailbox = MailboxKey((await DeviceRow.get(account_id=bo.user_id)).mailbox)
    thief = asyncio.create_task(
        status(node_server, "GET", "/mailbox?wait=20", headers={"Authorization": f"Bearer {bo.token}"})
    )
    await wait_until(lambda: bool(node_server.socket_hub.collector.polled_mailboxes((mailbox,))))
    body = {"refreshToken": bo.session["refreshToken"]}
    await node_server.node.call("POST", "/auth/refresh-token", body | {"attemptId": str(uuid.uuid4())})
    with pytest.raises(RequestRefused, match="INVALID_TOKEN"):
        await node_server.node.call("POST", "/auth/refresh-token", body | {"attemptId": str(uuid.uuid4())})

    async with asyncio.timeout(3):
        assert await thief == (401, "INVALID_TOKEN")


@pytest.mark.parametrize("what", ["suspended_at", "deleted_at"])
async def test_an_account_that_somebody_ends_in_the_database_alone_is_out_within_a_second(
    node_server: NodeServer, what: str
) -> None:
    device = await node_server.node.sign_up(with_keys=False)
    line = await DeviceSocket.connect_and_resume(device)
    word = {
        "suspended_at": "UPDATE account SET suspended_at = created_at",
        "deleted_at": "UPDATE account SET deleted_at = created_at",
    }

    async with database_guard():
        await connection().execute_query(word[what])

    assert await line.wait_closed(seconds=1) == 4401
    assert (await status(node_server, "GET", "/account", headers={"Authorization": f"Bearer {device.token}"}))[0] == 401
    renewal = {"refreshToken": device.session["refreshToken"], "attemptId": str(uuid.uuid4())}
    assert await status(node_server, "POST", "/auth/refresh-token", body=renewal) == (401, "INVALID_TOKEN")


async def test_all_devices_are_told_of_a_token_that_was_used_twice(node_server: NodeServer) -> None:
    device = await node_server.node.sign_up()
    linked = await node_server.add_linked_device(device)
    line = await DeviceSocket.connect_and_resume(linked)
    body = {"refreshToken": device.session["refreshToken"]}
    await node_server.node.call("POST", "/auth/refresh-token", body | {"attemptId": str(uuid.uuid4())})
    with pytest.raises(RequestRefused, match="INVALID_TOKEN"):
        await node_server.node.call("POST", "/auth/refresh-token", body | {"attemptId": str(uuid.uuid4())})

    await node_server.services.notice_poster.post_pending()
    await line.wait_for_entries(1)

    assert [entry["notice"] for entry in linked.received] == [{"name": "tokenReused", "deviceId": 1}]
    assert await AccountEventRow.filter(account_id=device.user_id, name="tokenReused").count() == 1
    await line.close()
