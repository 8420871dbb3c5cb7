"""The mailbox over REST, as a device without a socket meets it: docs/protocol.md, "Mailbox"."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.chain_checker import ChainChecker, to_bytes
from tests.support.device_keys import base64_text
from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer, wait_until
from tests.support.rest_device import Body, Device, RequestRefused
from vyry.storage.database import connection


@dataclass
class MailboxHarness:
    """Ann writes to Bo, who has no socket."""

    house: NodeServer
    ann: Device
    bo: Device
    together: str

    async def post(self, *contents: bytes, **more: Any) -> list[str]:
        """Post these and wait until they are numbered; answers the message ids."""
        posted = [(await self.ann.post(self.together, self.bo, each, **more))["messageId"] for each in contents]
        after = (await self.bo.call("GET", "/mailbox"))["cursor"]["seq"]
        while len((await self.bo.call("GET", f"/mailbox?after={after}&limit=200&wait=5"))["entries"]) < len(contents):
            pass
        return posted

    async def acknowledge(self, seq: int, head: bytes) -> Body:
        return await self.bo.call("POST", "/mailbox/acknowledge", {"seq": seq, "head": base64_text(head)})

    async def refused(self, seq: int, head: bytes) -> Body:
        """The refusal of this acknowledgement."""
        with pytest.raises(RequestRefused) as refusal:
            await self.acknowledge(seq, head)
        assert (refusal.value.status, refusal.value.code) == (409, "STALE_HEAD")
        return refusal.value.body

    async def page(self, query: str = "") -> Body:
        return await self.bo.call("GET", f"/mailbox{query}")

    async def heads(self, count: int) -> list[bytes]:
        """The heads of the first so many entries, from 0 on, as Bo computes them."""
        page = await self.page("?limit=200")
        chain = ChainChecker(page["mailboxId"])
        heads = [chain.head]
        for entry in page["entries"][:count]:
            chain.advance(entry)
            heads.append(chain.head)
        return heads


@pytest.fixture
async def mailbox_harness(node_server: NodeServer) -> MailboxHarness:
    ann, bo, together = await node_server.sign_up_pair()
    return MailboxHarness(node_server, ann, bo, together)


async def test_an_empty_mailbox_stands_at_zero(mailbox_harness: MailboxHarness) -> None:
    page = await mailbox_harness.page()

    head = base64_text(ChainChecker(page["mailboxId"]).head)
    assert page == {
        "entries": [],
        "drained": True,
        "cursor": {"seq": 0, "head": head},
        "mailboxId": page["mailboxId"],
        "lastMessageId": None,
    }


async def test_what_was_accepted_is_there_at_once(mailbox_harness: MailboxHarness) -> None:
    for count in range(1, 11):
        await mailbox_harness.ann.post(mailbox_harness.together, mailbox_harness.bo, b"x")

        page = await mailbox_harness.page()

        assert (len(page["entries"]), page["drained"]) == (count, True)


async def test_pages_follow_each_other_without_a_gap(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(*(b"%d" % n for n in range(5)))

    pages = [await mailbox_harness.bo.collect(limit=2) for _ in range(4)]

    assert [[entry["seq"] for entry in page["entries"]] for page in pages] == [[1, 2], [3, 4], [5], []]
    assert [page["drained"] for page in pages] == [False, False, True, True]
    assert mailbox_harness.bo.contents == [b"%d" % n for n in range(5)]


async def test_what_was_acknowledged_never_comes_again(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(b"1", b"2", b"3")
    heads = await mailbox_harness.heads(3)

    answer = await mailbox_harness.acknowledge(2, heads[2])
    page = await mailbox_harness.page("?after=0")

    assert answer == {"cursor": {"seq": 2, "head": base64_text(heads[2])}}
    assert page["cursor"] == answer["cursor"]
    assert [entry["seq"] for entry in page["entries"]] == [3]


async def test_the_present_point_and_a_lower_one_change_nothing(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(b"1", b"2")
    heads = await mailbox_harness.heads(2)
    answer = await mailbox_harness.acknowledge(2, heads[2])

    assert await mailbox_harness.acknowledge(2, heads[2]) == answer
    assert await mailbox_harness.acknowledge(1, heads[1]) == answer
    assert await mailbox_harness.acknowledge(0, heads[0]) == answer


async def test_a_wrong_head_is_refused_with_the_point_and_changes_nothing(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(b"1", b"2")
    heads = await mailbox_harness.heads(2)

    told = await mailbox_harness.refused(2, heads[1])

    assert told["cursor"] == {"seq": 0, "head": base64_text(heads[0])}
    assert len((await mailbox_harness.page())["entries"]) == 2


async def test_what_was_never_sent_cannot_be_acknowledged(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.bo.collect()
    for content in (b"1", b"2", b"3"):
        await mailbox_harness.ann.post(mailbox_harness.together, mailbox_harness.bo, content)
    while len(mailbox_harness.bo.received) < 2:
        await mailbox_harness.bo.collect(wait=5, limit=2 - len(mailbox_harness.bo.received))
    two, heads = mailbox_harness.bo.chain, await true_heads(mailbox_harness)
    assert two is not None

    told = await mailbox_harness.refused(3, heads[3])
    allowed = await mailbox_harness.acknowledge(2, two.head)

    assert told["cursor"]["seq"] == 0
    assert allowed["cursor"]["seq"] == 2


async def true_heads(mailbox_harness: MailboxHarness) -> dict[int, bytes]:
    """The true heads of all entries, read behind the node's back once all three are there."""
    sql = "SELECT seq, head FROM envelope WHERE seq IS NOT NULL"
    while len(rows := await connection().execute_query_dict(sql)) < 3:
        mailbox_harness.house.services.depositor.add([row["mailbox"] for row in await unnumbered()])
        await mailbox_harness.page("?wait=1")
    return {row["seq"]: bytes(row["head"]) for row in rows}


async def unnumbered() -> list[dict[str, Any]]:
    return list(await connection().execute_query_dict("SELECT mailbox FROM envelope WHERE seq IS NULL"))


async def test_beyond_the_end_is_refused_with_the_point(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(b"1")

    with pytest.raises(RequestRefused) as refusal:
        await mailbox_harness.page("?after=2")

    assert (refusal.value.status, refusal.value.code) == (409, "STALE_HEAD")
    assert refusal.value.body["cursor"] == (await mailbox_harness.page())["cursor"]


async def test_behind_the_acknowledged_point_reading_starts_just_after_it(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(b"1", b"2", b"3")
    await mailbox_harness.acknowledge(2, (await mailbox_harness.heads(2))[2])

    page = await mailbox_harness.page("?after=1")

    assert ([entry["seq"] for entry in page["entries"]], page["drained"]) == ([3], True)


async def test_a_parked_entry_is_a_tombstone_from_now_on_and_the_sender_sees_it(
    mailbox_harness: MailboxHarness,
) -> None:
    await mailbox_harness.bo.post(mailbox_harness.together, mailbox_harness.ann, b"we know each other")
    _, second, third = await mailbox_harness.post(b"1", b"2", b"3")
    heads = await mailbox_harness.heads(3)

    for body in ({"seq": 2, "reason": "unreadable"}, {"seq": 3}, {"seq": 3, "reason": "again"}):
        assert await mailbox_harness.bo.call("POST", "/mailbox/park", body) == {}
    page = await mailbox_harness.page()

    head = base64_text(heads[3])
    tombstone = {"seq": 2, "throughSeq": 3, "head": head, "tombstone": {"reason": "parked", "count": 2}}
    assert page["entries"][1:] == [tombstone]
    for message in (second, third):
        (copy,) = (await mailbox_harness.ann.call("GET", f"/messages/{message}"))["copies"]
        assert copy["state"] == "dropped"
    assert (await mailbox_harness.acknowledge(3, heads[3]))["cursor"]["seq"] == 3


async def test_what_is_not_there_cannot_be_parked(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(b"1")
    await mailbox_harness.acknowledge(1, (await mailbox_harness.heads(1))[1])

    for seq in (1, 2):
        with pytest.raises(RequestRefused) as refusal:
            await mailbox_harness.bo.call("POST", "/mailbox/park", {"seq": seq, "reason": ""})
        assert (refusal.value.status, refusal.value.code) == (404, "NOT_FOUND")


async def test_what_is_past_its_expiry_comes_as_a_tombstone(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.bo.post(mailbox_harness.together, mailbox_harness.ann, b"we know each other")
    message, _ = await mailbox_harness.post(b"1", b"2")
    sql = "UPDATE envelope SET expires_at = accepted_at WHERE seq = 1"
    await connection().execute_query_dict(sql)

    await mailbox_harness.bo.collect()
    await mailbox_harness.house.services.mail_store.upkeep.expire(mailbox_harness.house.services.clock.now(), 100)
    await mailbox_harness.bo.acknowledge()

    assert [entry.get("tombstone") for entry in mailbox_harness.bo.received] == [
        {"reason": "expired", "count": 1},
        None,
    ]
    assert (await mailbox_harness.ann.call("GET", f"/messages/{message}"))["copies"][0]["state"] == "expired"


async def test_a_long_poll_is_woken_by_a_post(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.bo.collect()
    poll = asyncio.create_task(mailbox_harness.bo.collect(wait=30))
    await wait_until(lambda: bool(mailbox_harness.house.socket_hub.collector.polls))

    await mailbox_harness.ann.post(mailbox_harness.together, mailbox_harness.bo, b"news")

    async with asyncio.timeout(10):
        page = await poll
    assert (mailbox_harness.bo.contents, page["drained"]) == ([b"news"], True)


async def test_a_long_poll_without_news_ends_empty(mailbox_harness: MailboxHarness) -> None:
    page = await mailbox_harness.page("?wait=1")

    assert (page["entries"], page["drained"]) == ([], True)


async def test_of_the_long_polls_of_a_device_only_the_newest_waits(mailbox_harness: MailboxHarness) -> None:
    polls = mailbox_harness.house.socket_hub.collector.polls
    older = asyncio.create_task(mailbox_harness.page("?wait=30"))
    await wait_until(lambda: bool(polls))
    first = next(iter(polls.values()))
    newer = asyncio.create_task(mailbox_harness.page("?wait=30"))

    async with asyncio.timeout(10):
        page = await older

    await wait_until(lambda: len(polls) == 1 and first not in polls.values())
    assert (page["entries"], page["drained"], newer.done()) == ([], True, False)
    await mailbox_harness.house.socket_hub.drain()
    await newer


async def test_a_draining_node_lets_long_polls_go(mailbox_harness: MailboxHarness) -> None:
    poll = asyncio.create_task(mailbox_harness.page("?wait=30"))
    await wait_until(lambda: bool(mailbox_harness.house.socket_hub.collector.polls))

    await mailbox_harness.house.socket_hub.drain()

    async with asyncio.timeout(10):
        assert (await poll)["entries"] == []


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=201",
        "?wait=31",
        "?wait=-1",
        "?after=-1",
        "?after=x",
        "?after=1&after=1",
        "?more=1",
        "?limit=",
    ],
)
async def test_a_wrong_query_is_refused(sqlite_node_server: NodeServer, query: str) -> None:
    device = await sqlite_node_server.node.sign_up(with_keys=False)

    with pytest.raises(RequestRefused) as refusal:
        await device.call("GET", f"/mailbox{query}")

    assert (refusal.value.status, refusal.value.code) == (400, "INVALID_REQUEST")


HEAD = base64_text(bytes(32))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("acknowledge", {"seq": -1, "head": HEAD}),
        ("acknowledge", {"seq": 1}),
        ("acknowledge", {"seq": 1, "head": HEAD[:-4]}),
        ("acknowledge", {"seq": 2**53, "head": HEAD}),
        ("park", {"seq": 0, "reason": ""}),
        ("park", {"seq": 1, "reason": "x" * 65}),
        ("park", {"reason": "x"}),
    ],
)
async def test_a_wrong_body_is_refused(sqlite_node_server: NodeServer, path: str, body: Body) -> None:
    device = await sqlite_node_server.node.sign_up(with_keys=False)

    with pytest.raises(RequestRefused) as refusal:
        await device.call("POST", f"/mailbox/{path}", body)

    assert (refusal.value.status, refusal.value.code) == (400, "INVALID_REQUEST")


async def test_one_mailbox_is_read_by_rest_and_socket_alike(mailbox_harness: MailboxHarness) -> None:
    await mailbox_harness.post(b"1", b"2", b"3")
    await mailbox_harness.acknowledge(1, (await mailbox_harness.heads(1))[1])
    page = await mailbox_harness.page()
    mailbox_harness.bo.chain = ChainChecker(page["mailboxId"])
    mailbox_harness.bo.chain.seq, mailbox_harness.bo.chain.head = 1, to_bytes(page["cursor"]["head"])

    line = await DeviceSocket.connect_and_resume(mailbox_harness.bo, codec="json")
    await line.wait_for_entries(2)

    assert mailbox_harness.bo.received == page["entries"]
    await line.close()
