"""Mail over sockets: resume, windows, drained, acknowledgement and park as docs/protocol.md, "WebSocket", promises them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from tests.support.chain_checker import ChainChecker, to_bytes
from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeServer, wait_until
from tests.support.rest_device import Body, Device, RequestRefused
from vyry.mail.store import CollectRequest, Entry, MailStore
from vyry.storage.database import connection


@dataclass
class SocketMailHarness:
    """Ann writes to Bo, whose sockets acknowledge only what the test says."""

    house: NodeServer
    ann: Device
    bo: Device
    together: str
    frames: list[Body] = field(default_factory=list)

    async def post(self, count: int, content: bytes = b"x", first: int = 0) -> None:
        """Post so many contents, each led by its number, over one socket of Ann's."""
        line = await DeviceSocket.connect_and_resume(self.ann)
        posts = (
            self.ann.build_post(self.together, [self.bo.user_id], b"%d " % n + content)
            for n in range(first, first + count)
        )
        await asyncio.gather(*(line.request("post", **body) for body in posts))
        await line.close()

    async def line(self, codec: Literal["json", "msgpack"] = "json", *, acknowledges: bool = False) -> DeviceSocket:
        """A socket of Bo's that has said hello; every frame it hears is kept."""
        line = await DeviceSocket.connect(self.bo, codec=codec)
        line.acknowledges = acknowledges
        line.on_frame = self.frames.append
        await line.resume()
        return line

    @property
    def numbers(self) -> list[int]:
        """The numbers Bo has seen, each time he saw them."""
        return [entry["seq"] for entry in self.bo.received]

    def drained(self) -> list[int]:
        """What `drained` said, each time."""
        return [frame["payload"]["seq"] for frame in self.frames if frame["type"] == "drained"]

    async def acknowledge(self, line: DeviceSocket, seq: int) -> Body:
        """Acknowledge up to here with the head that Bo was shown."""
        (head,) = {to_bytes(entry["head"]) for entry in self.bo.received if entry["seq"] == seq}
        return await line.request("acknowledge", seq=seq, head=line.encode_bytes(head))

    async def resume(self, line: DeviceSocket, after: int, head: bytes | None) -> Body:
        """Say hello from this point."""
        return await line.request("hello", after=after, head=head and line.encode_bytes(head))


@pytest.fixture
async def socket_mail(node_server: NodeServer) -> SocketMailHarness:
    return SocketMailHarness(node_server, *await node_server.sign_up_pair())


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_welcome_says_who_and_where_one_is(
    socket_mail: SocketMailHarness, codec: Literal["json", "msgpack"]
) -> None:
    line = await socket_mail.line(codec)
    head = ChainChecker(line.welcome["mailboxId"]).head

    assert line.welcome == {
        "userId": socket_mail.bo.user_id,
        "deviceId": 1,
        "mailboxId": line.welcome["mailboxId"],
        "lastMessageId": None,
        "cursor": {"seq": 0, "head": line.encode_bytes(head)},
        "windowEntries": 256,
        "windowBytes": 1 << 20,
        "heartbeatSeconds": 20,
        "limits": {"frameBytes": 256 << 10, "contentBytes": 65_536, "copies": 1_000},
    }
    await line.close()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_what_waited_comes_in_order_and_then_drained_once(
    socket_mail: SocketMailHarness, codec: Literal["json", "msgpack"]
) -> None:
    await socket_mail.post(5)
    await socket_mail.bo.collect(wait=5)
    await socket_mail.bo.acknowledge()
    first = socket_mail.bo.chain.seq if socket_mail.bo.chain else 0
    socket_mail.bo.received.clear()

    line = await socket_mail.line(codec, acknowledges=True)
    await socket_mail.post(3, first=5)
    await line.wait_for_entries(8 - first)
    await line.request("ping")

    assert socket_mail.numbers == list(range(first + 1, 9))
    assert len(socket_mail.drained()) == 1
    assert socket_mail.drained()[0] >= first
    await line.close()


async def test_what_was_accepted_the_moment_before_comes_before_drained(socket_mail: SocketMailHarness) -> None:
    for count in (5, 10, 15):
        await socket_mail.post(5, first=count - 5)

        line = await socket_mail.line()
        await asyncio.wait_for(line.drained.wait(), 5)

        assert socket_mail.drained()[-1] == socket_mail.numbers[-1] == count
        await line.close()


async def test_an_empty_mailbox_is_drained_at_once(socket_mail: SocketMailHarness) -> None:
    line = await socket_mail.line()
    await asyncio.wait_for(line.drained.wait(), 5)

    assert socket_mail.drained() == [0]
    await line.close()


async def test_both_subprotocols_show_the_same_entries(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(2, b"\x00\xff")
    line = await socket_mail.line("json")
    await line.wait_for_entries(2)
    await line.close()
    as_json = list(socket_mail.bo.received)
    socket_mail.bo.received.clear()
    socket_mail.bo.chain = None

    line = await socket_mail.line("msgpack")
    await line.wait_for_entries(2)

    decoded = [entry | {"head": to_bytes(entry["head"]), "content": to_bytes(entry["content"])} for entry in as_json]
    assert socket_mail.bo.received == decoded
    assert type(socket_mail.bo.received[0]["content"]) is bytes
    await line.close()


async def test_never_more_than_256_entries_wait_for_acknowledgement(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(300)
    line = await socket_mail.line()
    await line.wait_for_entries(256)
    for _ in range(3):
        await line.request("ping")

    assert len(socket_mail.numbers) == 256
    await socket_mail.acknowledge(line, 10)
    await line.wait_for_entries(266)
    for _ in range(3):
        await line.request("ping")
    assert socket_mail.numbers == list(range(1, 267))
    await socket_mail.acknowledge(line, 266)
    await line.wait_for_entries(300)
    await asyncio.wait_for(line.drained.wait(), 5)
    assert socket_mail.drained() == [300]
    await line.close()


async def test_who_acknowledges_by_rest_is_sent_more_on_his_socket(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(260)
    line = await socket_mail.line()
    await line.wait_for_entries(256)

    await socket_mail.bo.acknowledge()
    await line.wait_for_entries(260)

    assert socket_mail.numbers == list(range(1, 261))
    await line.close()


async def test_never_more_than_a_mebibyte_waits_for_acknowledgement(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(20, bytes(65_000))
    line = await socket_mail.line("msgpack")
    await line.wait_for_entries(16)
    for _ in range(3):
        await line.request("ping")

    assert socket_mail.numbers == list(range(1, 17))
    await socket_mail.acknowledge(line, 1)
    await line.wait_for_entries(17)
    await line.request("ping")
    assert socket_mail.numbers[-1] == 17
    await socket_mail.acknowledge(line, 17)
    await line.wait_for_entries(20)
    await line.close()


async def test_a_full_window_costs_no_reading(socket_mail: SocketMailHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await socket_mail.post(17, bytes(65_000))
    line = await socket_mail.line("msgpack")
    await line.wait_for_entries(16)
    store, reads = socket_mail.house.services.mail_store, 0
    collect = store.collect

    async def counted(_: MailStore, wants: Sequence[CollectRequest]) -> list[Entry]:
        nonlocal reads
        reads += 1
        return await collect(wants)

    monkeypatch.setattr(type(store), "collect", counted)
    for _ in range(50):
        await line.request("ping")

    assert reads <= 2
    await line.close()


@pytest.mark.parametrize("size", [1, 630, 3_000])
async def test_no_frame_is_larger_than_promised(socket_mail: SocketMailHarness, size: int) -> None:
    await socket_mail.post(256, bytes(size))
    line = await socket_mail.line("json")

    await line.wait_for_entries(256)

    assert socket_mail.numbers == list(range(1, 257))
    assert line.ws.close_code is None
    await line.close()


async def test_acknowledgement_is_cumulative_and_final(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(5)
    line = await socket_mail.line()
    await line.wait_for_entries(5)

    answer = await socket_mail.acknowledge(line, 3)
    lower = await socket_mail.acknowledge(line, 2)
    again = await socket_mail.acknowledge(line, 3)
    await line.close()

    assert answer == lower == again == {"cursor": {"seq": 3, "head": socket_mail.bo.received[2]["head"]}}
    assert [entry["seq"] for entry in (await socket_mail.bo.call("GET", "/mailbox"))["entries"]] == [4, 5]


async def test_nobody_acknowledges_beyond_what_he_was_sent(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(257)
    line = await socket_mail.line()
    await line.wait_for_entries(256)
    entry = await head_beyond(socket_mail, 257)

    with pytest.raises(RequestRefused) as refused:
        await line.request("acknowledge", seq=257, head=line.encode_bytes(entry))
    await line.request("ping")

    assert refused.value.code == "STALE_HEAD"
    assert refused.value.body["cursor"] == line.welcome["cursor"]
    assert len(socket_mail.numbers) == 256
    await socket_mail.acknowledge(line, 256)
    await line.wait_for_entries(257)
    await line.close()


async def head_beyond(socket_mail: SocketMailHarness, seq: int) -> bytes:
    """The true head of an entry that Bo was not sent, as the node's store has it."""
    (row,) = await connection().execute_query_dict(f"SELECT head FROM envelope WHERE seq = {seq}")
    return bytes(row["head"])


async def test_a_wrong_head_is_refused_and_the_window_stays(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(257)
    line = await socket_mail.line()
    await line.wait_for_entries(256)

    for seq in (1, 256, 300):
        with pytest.raises(RequestRefused) as refused:
            await line.request("acknowledge", seq=seq, head=line.encode_bytes(bytes(32)))
        assert refused.value.body["cursor"] == line.welcome["cursor"]

    assert len(socket_mail.numbers) == 256
    await line.close()


async def test_a_later_point_with_the_right_head_is_a_good_start(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(5)
    line = await socket_mail.line()
    await line.wait_for_entries(5)
    await socket_mail.acknowledge(line, 1)
    await line.close()
    heads = [to_bytes(entry["head"]) for entry in socket_mail.bo.received]
    socket_mail.bo.chain = ChainChecker(line.welcome["mailboxId"])
    socket_mail.bo.chain.seq, socket_mail.bo.chain.head = 3, heads[2]
    socket_mail.bo.received.clear()

    line = await socket_mail.line()
    await line.wait_for_entries(2)
    answer = await line.request("acknowledge", seq=3, head=line.encode_bytes(heads[2]))

    assert socket_mail.numbers == [4, 5]
    assert line.welcome["cursor"]["seq"] == 1
    assert answer["cursor"]["seq"] == 3
    await line.close()


async def test_a_wrong_resume_point_is_told_the_right_one_and_may_try_again(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(5)
    line = await socket_mail.line()
    await line.wait_for_entries(5)
    await socket_mail.acknowledge(line, 3)
    await line.close()
    heads = [to_bytes(entry["head"]) for entry in socket_mail.bo.received]
    rolled_back, ahead, wrong, headless = (2, heads[1]), (6, heads[4]), (4, heads[4]), (3, None)

    line = await DeviceSocket.connect(socket_mail.bo, codec="json")
    line.acknowledges = False
    for point in (rolled_back, ahead, wrong, headless, (0, None)):
        with pytest.raises(RequestRefused) as refused:
            await socket_mail.resume(line, *point)
        assert refused.value.code == "STALE_HEAD"
        assert refused.value.body["cursor"] == {"seq": 3, "head": line.encode_bytes(heads[2])}
    socket_mail.bo.chain = ChainChecker(line.device.chain.mailbox_id if line.device.chain else "")
    socket_mail.bo.chain.seq, socket_mail.bo.chain.head = 3, heads[2]
    await socket_mail.resume(line, 3, heads[2])
    await line.wait_for_entries(7)

    assert socket_mail.numbers == [1, 2, 3, 4, 5, 4, 5]
    await line.close()


async def test_what_was_not_acknowledged_comes_again_and_the_rest_never(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(4)
    line = await socket_mail.line()
    await line.wait_for_entries(4)
    await socket_mail.acknowledge(line, 2)
    await line.close()
    socket_mail.bo.chain = ChainChecker(line.welcome["mailboxId"])
    socket_mail.bo.chain.seq, socket_mail.bo.chain.head = 2, to_bytes(socket_mail.bo.received[1]["head"])

    line = await socket_mail.line()
    await line.wait_for_entries(6)

    assert socket_mail.numbers == [1, 2, 3, 4, 3, 4]
    await line.close()


async def test_a_parked_entry_is_answered_and_comes_as_a_tombstone(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(3)
    line = await socket_mail.line()
    await line.wait_for_entries(3)

    assert await line.request("park", seq=2, reason="unreadable") == {}
    with pytest.raises(RequestRefused) as refused:
        await line.request("park", seq=4, reason="")
    await line.close()
    socket_mail.bo.chain = None
    line = await socket_mail.line()
    await line.wait_for_entries(6)

    assert refused.value.code == "NOT_FOUND"
    assert socket_mail.bo.received[4]["tombstone"] == {"reason": "parked", "count": 1}
    await line.close()


async def test_what_expired_meanwhile_comes_as_a_tombstone(socket_mail: SocketMailHarness) -> None:
    await socket_mail.post(3)
    while not (await socket_mail.bo.collect(wait=5))["drained"] or len(socket_mail.bo.received) < 3:
        pass
    await connection().execute_query_dict("UPDATE envelope SET expires_at = accepted_at WHERE seq < 3")
    socket_mail.bo.chain = None
    socket_mail.bo.received.clear()

    line = await socket_mail.line()
    await line.wait_for_entries(2)

    assert [entry.get("tombstone") for entry in socket_mail.bo.received] == [{"reason": "expired", "count": 2}, None]
    await line.close()


async def test_a_live_socket_hears_of_new_mail_at_once(socket_mail: SocketMailHarness) -> None:
    line = await socket_mail.line(acknowledges=True)

    for n in range(1, 11):
        await socket_mail.ann.post(socket_mail.together, socket_mail.bo, b"%d" % n)
        await line.wait_for_entries(n, seconds=5)

    assert socket_mail.bo.contents == [b"%d" % n for n in range(1, 11)]
    await line.close()


async def test_the_newer_connection_takes_over(socket_mail: SocketMailHarness) -> None:
    older = await socket_mail.line()
    newer = await socket_mail.line(acknowledges=True)

    assert await older.wait_closed(5) == 4409
    await socket_mail.post(3)
    await newer.wait_for_entries(3)
    assert await newer.request("ping") == {}
    await newer.close()


async def test_a_second_hello_after_welcome_closes_the_socket(socket_mail: SocketMailHarness) -> None:
    line = await socket_mail.line()

    await line.send("hello", after=0, head=None)

    assert await line.wait_closed(5) == 4400


async def test_a_socket_without_hello_displaces_nobody(socket_mail: SocketMailHarness) -> None:
    line = await socket_mail.line()
    silent = await DeviceSocket.connect(socket_mail.bo)

    assert await line.request("ping") == {}
    await silent.close()
    await line.close()


async def test_ten_that_say_hello_at_once_leave_one_that_hears(socket_mail: SocketMailHarness) -> None:
    lines = [await DeviceSocket.connect(socket_mail.bo, codec="json") for _ in range(10)]
    await asyncio.gather(*(socket_mail.resume(line, 0, None) for line in lines), return_exceptions=True)
    socket_mail.bo.chain = ChainChecker((await socket_mail.bo.call("GET", "/mailbox"))["mailboxId"])

    await socket_mail.post(1)
    await wait_until(lambda: sum(line.ws.closed for line in lines) == 9)
    (last,) = (line for line in lines if not line.ws.closed)
    await last.wait_for_entries(1)

    assert [line.ws.close_code for line in lines if line is not last] == [4409] * 9
    assert socket_mail.bo.contents == [b"0 x"]
    await last.close()
