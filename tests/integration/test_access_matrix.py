"""The matrix of reach, made from the route table: every route, every kind of caller, every object of others that the route can be asked for."""

import re
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from tests.support.access_rules import ACCESS_RULES, HiddenObject, ObjectIds, ParameterKey, route_key, route_parameters
from tests.support.device_keys import base64_text
from tests.support.node_server import NodeBackends as Rooms
from tests.support.node_server import NodeServer, open_node_server
from tests.support.rest_device import Body, Device
from vyry.accounts.events import OperatorAction
from vyry.accounts.signup_invitations import InvitationTerms, InvitationToken, MemberQuota, new_invitation
from vyry.kernel.ids import UserId
from vyry.limits import Quota, QuotaWindow
from vyry.operator import accounts as operating
from vyry.storage.models import DeviceRow
from vyry.storage.signup_invitations import TortoiseSignupInvitations
from web.route import Route
from web.routes import ROUTES


#: All cells share one node: they only read.
in_one_house = pytest.mark.asyncio(loop_scope="module")
CLOSED = [route for route in ROUTES if route.auth != "open"]
#: What differs between two answers of the same kind.
OWN = {"x-request-id", "date", "ratelimit", "ratelimit-policy"}
ROLES = ("primary", "linked", "stranger")
ENDED = ("an ended device", "a suspended account", "a deleted account", "a device before the new sign-up")
#: What would show that a refusal did something all the same.
SEEN = (
    *("/devices", "/account", "/account/pin", "/account/events", "/keys/status", "/conversations"),
    *("/friends", "/friends/requests", "/friends/requests?direction=outgoing", "/blocks"),
)


class AccessActors:
    """Ann and her tablet, who talk to Bo; Eve with three devices, who talks to Mal; Cat alone; and those whose time is over."""

    def __init__(self, node_server: NodeServer) -> None:
        self.house = node_server
        self.callers: dict[str, Device] = {}
        self.ended: dict[str, str] = {}
        self.victims: list[Device] = []
        self.worlds: dict[str, ObjectIds] = {}

    async def set_up(self) -> None:
        ann, bo, together = await self.house.sign_up_pair()
        eve, mal, apart = await self.house.sign_up_pair()
        cat, dan = await self.house.node.sign_up(), await self.house.node.sign_up()
        tablet = await self.house.add_linked_device(ann)
        for number in (2, 3):
            await self.house.add_linked_device(eve, number)
        foreign = (
            {
                "conversation": apart,
                "message": await self._message(mal, eve, apart),
                "device": 3,
                "user": eve.user_id,
                "gone user": await self._leave(dan),
                "blocker": await self._block([ann, cat]),
                "hidden username": "the_blocker",
                "link": await self._link(),
                "scanned link": await self._link(eve),
                "attachment": await self._attachment(eve),
                "sign-up invitation": await self._sign_up_invitation(eve),
            }
            | await self._challenges(eve)
            | await self._group(eve, mal)
        )
        own = {"conversation": together, "friend": bo.user_id, "group": (await self._group(ann, bo))["group"]}
        alone = {"conversation": await cat.open_direct(bo), "friend": bo.user_id}
        alone["group"] = (await self._group(cat, bo))["group"]
        self.victims = [eve, mal]
        self.callers = {"primary": ann, "linked": tablet, "stranger": cat}
        self.worlds = {
            "primary": ObjectIds(foreign, own),
            "linked": ObjectIds(foreign, own),
            "stranger": ObjectIds(foreign | {"device": 2}, alone),
        }
        await self._end_some(ann)

    async def _group(self, admin: Device, other: Device) -> dict[str, str]:
        body = {"kind": "group", "memberIds": [other.user_id]}
        made = await admin.call("POST", "/conversations", body)
        group = str(made["conversationId"])
        if made["invited"]:
            await other.call("POST", f"/conversations/invitations/{group}/accept")
        invite = await admin.call("POST", f"/conversations/{group}/invites", {})
        return {"group": group, "invite": str(invite["inviteId"])}

    async def _link(self, scanner: Device | None = None) -> str:
        key = {"publicKey": base64_text(bytes(32))}
        link = await self.house.node.call("POST", "/devices/links", key | {"name": "new", "platform": "web"})
        if scanner is not None:
            await scanner.call("POST", f"/devices/links/{link['linkId']}/scan", key)
        return str(link["linkId"])

    async def _attachment(self, device: Device) -> str:
        """An upload that has only begun."""
        headers = {"Authorization": f"Bearer {device.token}", "Tus-Resumable": "1.0.0", "Upload-Length": "5"}
        node = device.node
        async with node.http.post(f"{node.url}/api/v1/attachments", headers=headers) as begun:
            return begun.headers["Location"].rpartition("/")[2]

    async def _sign_up_invitation(self, device: Device) -> str:
        """An invitation of this member, as if the node allowed it."""
        quota = MemberQuota(datetime.now(UTC), Quota("member_invites", (QuotaWindow(1, 1),)))
        token = InvitationToken("text", uuid.uuid4().hex, 1)
        made = new_invitation(UserId(UUID(device.user_id)), InvitationTerms(), datetime.now(UTC))
        await TortoiseSignupInvitations().create(made, token, quota)
        return str(made.invitation_id)

    async def _challenges(self, device: Device) -> dict[str, str]:
        """Challenges of somebody else with their right codes, as one who reads over the shoulder has them."""
        reset, deletion = await self._challenge(device, "pinReset"), await self._challenge(device, "deleteAccount")
        return {
            "reset challenge": reset[0],
            "reset code": reset[1],
            "deletion challenge": deletion[0],
            "deletion code": deletion[1],
        }

    async def _challenge(self, device: Device, purpose: str) -> tuple[str, str]:
        node = self.house.node
        asked = await node.call("POST", "/auth/request-otp", {"phoneNumber": device.number, "purpose": purpose})
        return asked["challengeId"], await node.latest_code(device.number)

    async def _message(self, sender: Device, other: Device, conversation: str) -> str:
        await sender.fetch_device_list(other.user_id, again=True)
        body = sender.build_post(conversation, [other.user_id], b"between us")
        await sender.call("POST", "/messages", body)
        return str(body["messageId"])

    async def _leave(self, device: Device) -> str:
        """What stays of an account that was deleted: an id that others may remember, and a token."""
        challenge, code = await self._challenge(device, "deleteAccount")
        await device.call("POST", "/account/delete", {"challengeId": challenge, "otp": code})
        self.ended["a deleted account"] = device.token
        return device.user_id

    async def _block(self, others: list[Device]) -> str:
        """Somebody who blocks all of these."""
        blocker = await self.house.node.sign_up()
        await blocker.call("PATCH", "/account", {"username": "the_blocker"})
        for other in others:
            await blocker.call("PUT", f"/blocks/{other.user_id}")
        return blocker.user_id

    async def _end_some(self, ann: Device) -> None:
        old = await self.house.add_linked_device(ann, 3)
        await ann.call("DELETE", "/devices/3")
        suspended = await self.house.node.sign_up(with_keys=False)
        act = OperatorAction(datetime.now(UTC), "test", "suspend", "the matrix of reach")
        await operating.suspend_account(UserId(UUID(suspended.user_id)), act)
        renewed = await self.house.node.sign_up(with_keys=False)
        await self.house.node.sign_up(renewed.number, with_keys=False)
        self.ended |= {
            "an ended device": old.token,
            "a suspended account": suspended.token,
            "a device before the new sign-up": renewed.token,
        }

    async def untouched(self) -> list[Body]:
        """All that the victims see of what is theirs, but for what time changes: a post is noted as activity within seconds."""
        seen = [await victim.call("GET", path) for victim in self.victims for path in SEEN]
        for conversation in (one for each in seen for one in each.get("conversations", ())):
            del conversation["lastActivityAt"]
        return [{name: value for name, value in each.items() if not name.endswith("AgeSeconds")} for each in seen]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AccessActors]:
    folder = tmp_path_factory.mktemp("reach")
    copy = shutil.copy(sqlite_template, folder / "vyry.db")
    async with open_node_server(Rooms(f"sqlite://{copy}", None, folder)) as house:
        made = AccessActors(house)
        await made.set_up()
        yield made


async def answer(
    node_server: NodeServer, route: Route, path: str, token: str | None, body: Any, **more: str
) -> tuple[int, Body, Body]:
    """Status, body without its id (none where there is no body), headers without what is each answer's own."""
    headers = more | ({"Authorization": f"Bearer {token}"} if token else {})
    node = node_server.node
    async with node.http.request(route.method, f"{node.url}{path}", json=body, headers=headers) as got:
        said = {} if route.method == "HEAD" else await got.json()
        kept = {name.lower(): value for name, value in got.headers.items() if name.lower() not in OWN}
    said.pop("request_id", None)
    return got.status, said, kept


def fill_path(path: str, **names: object) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: str(names.get(match[1], uuid.UUID(int=1))), path)


def matrix_cells() -> Iterator[Any]:
    """Every route x place x foreign object x role."""
    for route in ROUTES:
        for place in route_parameters((route,)):
            rule = ACCESS_RULES.get(place)
            for word in rule.foreign if isinstance(rule, HiddenObject) else ():
                for role in ROLES:
                    yield pytest.param(route, place, word, role, id=f"{route_key(route)} {place[1]}-{word}-{role}")


def test_every_place_where_a_route_takes_a_name_is_classified() -> None:
    assert set(ACCESS_RULES) == set(route_parameters(ROUTES))


@in_one_house
@pytest.mark.parametrize("route", CLOSED, ids=route_key)
async def test_nobody_gets_in(people: AccessActors, route: Route) -> None:
    status, body, headers = await answer(people.house, route, fill_path(route.path), None, {})

    assert (status, body.get("error_code", "UNAUTHORIZED")) == (401, "UNAUTHORIZED")
    assert headers["www-authenticate"] == "Bearer"


@in_one_house
@pytest.mark.parametrize("who", ENDED)
@pytest.mark.parametrize("route", CLOSED, ids=route_key)
async def test_whose_time_is_over_does_not_get_in(people: AccessActors, route: Route, who: str) -> None:
    status, body, _ = await answer(people.house, route, fill_path(route.path), people.ended[who], {})

    assert (status, body.get("error_code", "INVALID_TOKEN")) == (401, "INVALID_TOKEN")


@in_one_house
@pytest.mark.parametrize(("route", "place", "word", "role"), list(matrix_cells()))
async def test_what_is_not_the_callers_answers_like_what_does_not_exist(
    people: AccessActors, route: Route, place: ParameterKey, word: str, role: str
) -> None:
    rule, world, token = ACCESS_RULES[place], people.worlds[role], people.callers[role].token
    assert isinstance(rule, HiddenObject)
    before = await people.untouched()
    own = {name: world.own[word] for name, word in rule.own.items()}

    foreign, invented = [
        await answer(
            people.house,
            route,
            fill_path(route.path, **own, **{place[1]: name}),
            token,
            rule.body and rule.body(world, name),
            **rule.headers,
        )
        for name in (world.foreign[word], rule.invented)
    ]

    assert (foreign[0], foreign[1].get("error_code", rule.code)) == (rule.status, rule.code)
    assert foreign == invented
    assert await people.untouched() == before


def test_the_matrix_is_not_empty() -> None:
    assert len(list(matrix_cells())) >= 30


@in_one_house
@pytest.mark.parametrize("path", ["/metrics", "/debug", "/admin", "/api/v1/admin", "/api/v1/metrics", "/api/v1/users"])
async def test_what_is_the_operators_is_not_on_the_public_port(people: AccessActors, path: str) -> None:
    node = people.house.node
    async with node.http.get(f"{node.url}{path}") as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (404, "NOT_FOUND")


@in_one_house
async def test_a_token_for_the_device_of_somebody_else_opens_nothing(people: AccessActors) -> None:
    house, ann = people.house, people.callers["primary"]
    eves = await DeviceRow.get(account_id=people.victims[0].user_id, device_id=1, ended_at=None)
    mixed = house.token_issuer().issue(UserId(UUID(ann.user_id)), eves.id, eves.session_generation)

    status, body, _ = await answer(house, CLOSED[0], fill_path(CLOSED[0].path), mixed, {})

    assert (status, body["error_code"]) == (401, "INVALID_TOKEN")
