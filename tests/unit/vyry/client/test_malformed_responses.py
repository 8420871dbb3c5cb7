"""Responses and frames of another shape than docs/protocol.md: nothing of them is stored, and the profile continues to work."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.client_inbox import NOW, InboxHarness, open_inbox
from tests.support.fake_node import FakeNode, open_fake_node
from vyry.client.errors import Unreachable
from vyry.client.store import kinds
from vyry.client.sync.key_maintenance import KeyMaintenance
from vyry.client.transport.rest import RestClient


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: InboxHarness) -> AsyncIterator[tuple[FakeNode, RestClient]]:
    async with open_fake_node(ann.store) as made:
        yield made


async def test_a_nest_without_end_is_no_answer(ann: InboxHarness) -> None:
    async def deep(_: web.Request) -> web.Response:
        return web.Response(text="[" * 200_000)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", deep)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        with pytest.raises(Unreachable):
            await RestClient(http, str(server.make_url("/")), ann.store).call_unauthenticated("GET", "/x")


@pytest.mark.parametrize("token", [None, 7, ["a"]])
async def test_a_token_that_is_no_text_takes_no_place(node: tuple[FakeNode, RestClient], token: object) -> None:
    _, rest = node

    with pytest.raises(Unreachable):
        rest.save_tokens({"accessToken": token, "refreshToken": "r"})

    assert rest.access_token() == "a"


@pytest.mark.parametrize("issued", [2**31, 1.5, "9", None])
async def test_ids_that_leave_no_others_are_not_counted_from(
    ann: InboxHarness, node: tuple[FakeNode, RestClient], issued: object
) -> None:
    (fake_node, rest), before = node, ann.local_device.next_id
    ann.store.put(kinds.KEYS_DUE, "", b"due")
    fake_node.answers["GET /keys/status"] = {"signedPrekeyId": 3, "issuedThrough": {"oneTime": issued}}

    with pytest.raises(Unreachable):
        await KeyMaintenance(ann.store, rest, lambda: NOW).publish_if_due()

    assert ann.local_device.next_id == before


async def test_a_page_without_its_list_is_no_answer(node: tuple[FakeNode, RestClient]) -> None:
    fake_node, rest = node
    fake_node.answers["GET /devices"] = {"devices": 7}

    with pytest.raises(Unreachable):
        await rest.list_all("/devices", "devices")


@pytest.mark.parametrize("said", ["soon", -1, None, [], float("nan")])
def test_what_is_no_time_to_wait_is_none(said: Any) -> None:
    assert Unreachable("", said).retry_after_seconds is None


@pytest.mark.parametrize(
    "change", [{"mailboxId": 7}, {"oneTimeRemaining": "9"}, {"issuedThrough": {"oneTime": 1.5}}, {"signedPrekeyId": []}]
)
async def test_upkeep_by_an_answer_of_another_shape_changes_nothing(
    ann: InboxHarness, node: tuple[FakeNode, RestClient], change: dict[str, Any]
) -> None:
    (fake_node, rest), before = node, ann.local_device
    status = {"issuedThrough": {"oneTime": 3, "pq": 3}, "oneTimeRemaining": 90, "pqRemaining": 90, "signedPrekeyId": 1}
    fake_node.answers["GET /keys/status"] = {**status, **change}
    fake_node.answers["GET /mailbox"] = {"mailboxId": None, **change}
    upkeep = KeyMaintenance(ann.store, rest, lambda: NOW)

    with pytest.raises(Unreachable):
        await (upkeep.load_mailbox_start() if "mailboxId" in change else upkeep.refill_and_rotate())

    assert ann.local_device == before
