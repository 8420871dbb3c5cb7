"""Mail over sockets: resume, windows, drained, acknowledgement and park as docs/protocol.md, "WebSocket", promises them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from tests.chain import Chain, octets
from tests.client import Body, Device, Refused
from tests.line import Line
from tests.live_house import House, until
from vyry.adapters.database import connection
from vyry.mail.store import Entry, MailStore, Want


@dataclass
class Letters:
    """Ann writes to Bo, whose sockets acknowledge only what the test says."""

    house: House
    ann: Device
    bo: Device
    together: str
    frames: list[Body] = field(default_factory=list)

    async def post(self, count: int, content: bytes = b"x", first: int = 0) -> None:
        """Post so many contents, each led by its number, over one socket of Ann's."""
        line = await Line.live(self.ann)
        posts = (
            self.ann.body_of(self.together, [self.bo.user_id], b"%d " % n + content)
            for n in range(first, first + count)
        )
        await asyncio.gather(*(line.ask("post", **body) for body in posts))
        await line.close()

    async def line(self, codec: Literal["json", "msgpack"] = "json", *, acknowledges: bool = False) -> Line:
        """A socket of Bo's that has said hello; every frame it hears is kept."""
        line = await Line.open(self.bo, codec=codec)
        line.acknowledges = acknowledges
        line.watch = self.frames.append
        await line.hello()
        return line

    @property
    def numbers(self) -> list[int]:
        """The numbers Bo has seen, each time he saw them."""
        return [entry["seq"] for entry in self.bo.seen]

    def drained(self) -> list[int]:
        """What `drained` said, each time."""
        return [frame["payload"]["seq"] for frame in self.frames if frame["type"] == "drained"]

    async def acknowledge(self, line: Line, seq: int) -> Body:
        """Acknowledge up to here with the head that Bo was shown."""
        (head,) = {octets(entry["head"]) for entry in self.bo.seen if entry["seq"] == seq}
        return await line.ask("acknowledge", seq=seq, head=line.bytes_of(head))

    async def resume(self, line: Line, after: int, head: bytes | None) -> Body:
        """Say hello from this point."""
        return await line.ask("hello", after=after, head=head and line.bytes_of(head))


@pytest.fixture
async def letters(house: House) -> Letters:
    return Letters(house, *await house.pair())


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_welcome_says_who_and_where_one_is(letters: Letters, codec: Literal["json", "msgpack"]) -> None:
    line = await letters.line(codec)
    head = Chain(line.welcome["mailboxId"]).head

    assert line.welcome == {
        "userId": letters.bo.user_id,
        "deviceId": 1,
        "mailboxId": line.welcome["mailboxId"],
        "lastMessageId": None,
        "cursor": {"seq": 0, "head": line.bytes_of(head)},
        "windowEntries": 256,
        "windowBytes": 1 << 20,
        "heartbeatSeconds": 20,
        "limits": {"frameBytes": 256 << 10, "contentBytes": 65_536, "copies": 1_000},
    }
    await line.close()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_what_waited_comes_in_order_and_then_drained_once(
    letters: Letters, codec: Literal["json", "msgpack"]
) -> None:
    await letters.post(5)
    await letters.bo.collect(wait=5)
    await letters.bo.acknowledge()
    first = letters.bo.chain.seq if letters.bo.chain else 0
    letters.bo.seen.clear()

    line = await letters.line(codec, acknowledges=True)
    await letters.post(3, first=5)
    await line.seen(8 - first)
    await line.ask("ping")

    assert letters.numbers == list(range(first + 1, 9))
    assert len(letters.drained()) == 1
    assert letters.drained()[0] >= first
    await line.close()


async def test_what_was_accepted_the_moment_before_comes_before_drained(letters: Letters) -> None:
    for count in (5, 10, 15):
        await letters.post(5, first=count - 5)

        line = await letters.line()
        await asyncio.wait_for(line.drained.wait(), 5)

        assert letters.drained()[-1] == letters.numbers[-1] == count
        await line.close()


async def test_an_empty_mailbox_is_drained_at_once(letters: Letters) -> None:
    line = await letters.line()
    await asyncio.wait_for(line.drained.wait(), 5)

    assert letters.drained() == [0]
    await line.close()


async def test_both_subprotocols_show_the_same_entries(letters: Letters) -> None:
    await letters.post(2, b"\x00\xff")
    line = await letters.line("json")
    await line.seen(2)
    await line.close()
    as_json = list(letters.bo.seen)
    letters.bo.seen.clear()
    letters.bo.chain = None

    line = await letters.line("msgpack")
    await line.seen(2)

    decoded = [entry | {"head": octets(entry["head"]), "content": octets(entry["content"])} for entry in as_json]
    assert letters.bo.seen == decoded
    assert type(letters.bo.seen[0]["content"]) is bytes
    await line.close()


async def test_never_more_than_256_entries_wait_for_acknowledgement(letters: Letters) -> None:
    await letters.post(300)
    line = await letters.line()
    await line.seen(256)
    for _ in range(3):
        await line.ask("ping")

    assert len(letters.numbers) == 256
    await letters.acknowledge(line, 10)
    await line.seen(266)
    for _ in range(3):
        await line.ask("ping")
    assert letters.numbers == list(range(1, 267))
    await letters.acknowledge(line, 266)
    await line.seen(300)
    await asyncio.wait_for(line.drained.wait(), 5)
    assert letters.drained() == [300]
    await line.close()


async def test_who_acknowledges_by_rest_is_sent_more_on_his_socket(letters: Letters) -> None:
    await letters.post(260)
    line = await letters.line()
    await line.seen(256)

    await letters.bo.acknowledge()
    await line.seen(260)

    assert letters.numbers == list(range(1, 261))
    await line.close()


async def test_never_more_than_a_mebibyte_waits_for_acknowledgement(letters: Letters) -> None:
    await letters.post(20, bytes(65_000))
    line = await letters.line("msgpack")
    await line.seen(16)
    for _ in range(3):
        await line.ask("ping")

    assert letters.numbers == list(range(1, 17))
    await letters.acknowledge(line, 1)
    await line.seen(17)
    await line.ask("ping")
    assert letters.numbers[-1] == 17
    await letters.acknowledge(line, 17)
    await line.seen(20)
    await line.close()


async def test_a_full_window_costs_no_reading(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    await letters.post(17, bytes(65_000))
    line = await letters.line("msgpack")
    await line.seen(16)
    store, reads = letters.house.services.mail_store, 0
    collect = store.collect

    async def counted(_: MailStore, wants: Sequence[Want]) -> list[Entry]:
        nonlocal reads
        reads += 1
        return await collect(wants)

    monkeypatch.setattr(type(store), "collect", counted)
    for _ in range(50):
        await line.ask("ping")

    assert reads <= 2
    await line.close()


@pytest.mark.parametrize("size", [1, 630, 3_000])
async def test_no_frame_is_larger_than_promised(letters: Letters, size: int) -> None:
    await letters.post(256, bytes(size))
    line = await letters.line("json")

    await line.seen(256)

    assert letters.numbers == list(range(1, 257))
    assert line.ws.close_code is None
    await line.close()


async def test_acknowledgement_is_cumulative_and_final(letters: Letters) -> None:
    await letters.post(5)
    line = await letters.line()
    await line.seen(5)

    answer = await letters.acknowledge(line, 3)
    lower = await letters.acknowledge(line, 2)
    again = await letters.acknowledge(line, 3)
    await line.close()

    assert answer == lower == again == {"cursor": {"seq": 3, "head": letters.bo.seen[2]["head"]}}
    assert [entry["seq"] for entry in (await letters.bo.call("GET", "/mailbox"))["entries"]] == [4, 5]


async def test_nobody_acknowledges_beyond_what_he_was_sent(letters: Letters) -> None:
    await letters.post(257)
    line = await letters.line()
    await line.seen(256)
    entry = await beyond(letters, 257)

    with pytest.raises(Refused) as refused:
        await line.ask("acknowledge", seq=257, head=line.bytes_of(entry))
    await line.ask("ping")

    assert refused.value.code == "STALE_HEAD"
    assert refused.value.body["cursor"] == line.welcome["cursor"]
    assert len(letters.numbers) == 256
    await letters.acknowledge(line, 256)
    await line.seen(257)
    await line.close()


async def beyond(letters: Letters, seq: int) -> bytes:
    """The true head of an entry that Bo was not sent, as the node's store has it."""
    (row,) = await connection().execute_query_dict(f"SELECT head FROM envelope WHERE seq = {seq}")
    return bytes(row["head"])


async def test_a_wrong_head_is_refused_and_the_window_stays(letters: Letters) -> None:
    await letters.post(257)
    line = await letters.line()
    await line.seen(256)

    for seq in (1, 256, 300):
        with pytest.raises(Refused) as refused:
            await line.ask("acknowledge", seq=seq, head=line.bytes_of(bytes(32)))
        assert refused.value.body["cursor"] == line.welcome["cursor"]

    assert len(letters.numbers) == 256
    await line.close()


async def test_a_later_point_with_the_right_head_is_a_good_start(letters: Letters) -> None:
    await letters.post(5)
    line = await letters.line()
    await line.seen(5)
    await letters.acknowledge(line, 1)
    await line.close()
    heads = [octets(entry["head"]) for entry in letters.bo.seen]
    letters.bo.chain = Chain(line.welcome["mailboxId"])
    letters.bo.chain.seq, letters.bo.chain.head = 3, heads[2]
    letters.bo.seen.clear()

    line = await letters.line()
    await line.seen(2)
    answer = await line.ask("acknowledge", seq=3, head=line.bytes_of(heads[2]))

    assert letters.numbers == [4, 5]
    assert line.welcome["cursor"]["seq"] == 1
    assert answer["cursor"]["seq"] == 3
    await line.close()


async def test_a_wrong_resume_point_is_told_the_right_one_and_may_try_again(letters: Letters) -> None:
    await letters.post(5)
    line = await letters.line()
    await line.seen(5)
    await letters.acknowledge(line, 3)
    await line.close()
    heads = [octets(entry["head"]) for entry in letters.bo.seen]
    rolled_back, ahead, wrong, headless = (2, heads[1]), (6, heads[4]), (4, heads[4]), (3, None)

    line = await Line.open(letters.bo, codec="json")
    line.acknowledges = False
    for point in (rolled_back, ahead, wrong, headless, (0, None)):
        with pytest.raises(Refused) as refused:
            await letters.resume(line, *point)
        assert refused.value.code == "STALE_HEAD"
        assert refused.value.body["cursor"] == {"seq": 3, "head": line.bytes_of(heads[2])}
    letters.bo.chain = Chain(line.device.chain.mailbox_id if line.device.chain else "")
    letters.bo.chain.seq, letters.bo.chain.head = 3, heads[2]
    await letters.resume(line, 3, heads[2])
    await line.seen(7)

    assert letters.numbers == [1, 2, 3, 4, 5, 4, 5]
    await line.close()


async def test_what_was_not_acknowledged_comes_again_and_the_rest_never(letters: Letters) -> None:
    await letters.post(4)
    line = await letters.line()
    await line.seen(4)
    await letters.acknowledge(line, 2)
    await line.close()
    letters.bo.chain = Chain(line.welcome["mailboxId"])
    letters.bo.chain.seq, letters.bo.chain.head = 2, octets(letters.bo.seen[1]["head"])

    line = await letters.line()
    await line.seen(6)

    assert letters.numbers == [1, 2, 3, 4, 3, 4]
    await line.close()


async def test_a_parked_entry_is_answered_and_comes_as_a_tombstone(letters: Letters) -> None:
    await letters.post(3)
    line = await letters.line()
    await line.seen(3)

    assert await line.ask("park", seq=2, reason="unreadable") == {}
    with pytest.raises(Refused) as refused:
        await line.ask("park", seq=4, reason="")
    await line.close()
    letters.bo.chain = None
    line = await letters.line()
    await line.seen(6)

    assert refused.value.code == "NOT_FOUND"
    assert letters.bo.seen[4]["tombstone"] == {"reason": "parked", "count": 1}
    await line.close()


async def test_what_expired_meanwhile_comes_as_a_tombstone(letters: Letters) -> None:
    await letters.post(3)
    while not (await letters.bo.collect(wait=5))["drained"] or len(letters.bo.seen) < 3:
        pass
    await connection().execute_query_dict("UPDATE envelope SET expires_at = accepted_at WHERE seq < 3")
    letters.bo.chain = None
    letters.bo.seen.clear()

    line = await letters.line()
    await line.seen(2)

    assert [entry.get("tombstone") for entry in letters.bo.seen] == [{"reason": "expired", "count": 2}, None]
    await line.close()


async def test_a_live_socket_hears_of_new_mail_at_once(letters: Letters) -> None:
    line = await letters.line(acknowledges=True)

    for n in range(1, 11):
        await letters.ann.post(letters.together, letters.bo, b"%d" % n)
        await line.seen(n, seconds=5)

    assert letters.bo.contents == [b"%d" % n for n in range(1, 11)]
    await line.close()


async def test_the_newer_connection_takes_over(letters: Letters) -> None:
    older = await letters.line()
    newer = await letters.line(acknowledges=True)

    assert await older.ended(5) == 4409
    await letters.post(3)
    await newer.seen(3)
    assert await newer.ask("ping") == {}
    await newer.close()


async def test_a_second_hello_after_welcome_closes_the_socket(letters: Letters) -> None:
    line = await letters.line()

    await line.tell("hello", after=0, head=None)

    assert await line.ended(5) == 4400


async def test_a_socket_without_hello_displaces_nobody(letters: Letters) -> None:
    line = await letters.line()
    silent = await Line.open(letters.bo)

    assert await line.ask("ping") == {}
    await silent.close()
    await line.close()


async def test_ten_that_say_hello_at_once_leave_one_that_hears(letters: Letters) -> None:
    lines = [await Line.open(letters.bo, codec="json") for _ in range(10)]
    await asyncio.gather(*(letters.resume(line, 0, None) for line in lines), return_exceptions=True)
    letters.bo.chain = Chain((await letters.bo.call("GET", "/mailbox"))["mailboxId"])

    await letters.post(1)
    await until(lambda: sum(line.ws.closed for line in lines) == 9)
    (last,) = (line for line in lines if not line.ws.closed)
    await last.seen(1)

    assert [line.ws.close_code for line in lines if line is not last] == [4409] * 9
    assert letters.bo.contents == [b"0 x"]
    await last.close()
