"""The owner reads what happened to the account, and nobody else does."""

import pytest

from tests.support.node_server import NodeServer
from tests.support.rest_device import RequestRefused


async def test_the_owner_reads_what_happened_newest_first(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()
    again = await node_server.node.sign_up(ann.number)

    page = await again.call("GET", "/account/events")

    assert [(each["name"], each["deviceId"]) for each in page["events"]] == [
        ("signedUp", 1),
        ("deviceEnded", 1),
        ("signedUp", 1),
    ]
    assert page["nextCursor"] is None


async def test_pages_follow_each_other_without_a_gap(sqlite_node_server: NodeServer) -> None:
    ann = await sqlite_node_server.node.sign_up()
    for _ in range(2):
        ann = await sqlite_node_server.node.sign_up(ann.number)
    whole = (await ann.call("GET", "/account/events"))["events"]

    pages = [await ann.call("GET", "/account/events?limit=2")]
    while cursor := pages[-1]["nextCursor"]:
        pages.append(await ann.call("GET", f"/account/events?limit=2&cursor={cursor}"))

    assert [len(page["events"]) for page in pages] == [2, 2, 1]
    assert [each for page in pages for each in page["events"]] == whole


async def test_somebody_elses_place_in_the_list_shows_nothing_of_theirs(sqlite_node_server: NodeServer) -> None:
    await sqlite_node_server.node.sign_up()
    bo = await sqlite_node_server.node.sign_up()

    page = await bo.call("GET", "/account/events?cursor=2")

    assert page["events"] == []


@pytest.mark.parametrize("query", ["cursor=-1", "cursor=x", "limit=0", "limit=201", f"cursor={'9' * 30}"])
async def test_a_cursor_that_is_none_is_refused(sqlite_node_server: NodeServer, query: str) -> None:
    ann = await sqlite_node_server.node.sign_up()

    with pytest.raises(RequestRefused) as refused:
        await ann.call("GET", f"/account/events?{query}")
    assert refused.value.code == "INVALID_REQUEST"
