"""How a socket lives and ends: heartbeat, silence, tokens, slow readers and the node's goodbye. Time is short here: the pace is the test's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.support.device_socket import DeviceSocket
from tests.support.node_server import NodeBackends, NodeServer, open_node_server, wait_until
from tests.support.rest_device import Device, RequestRefused
from vyry.kernel.ids import MailboxKey
from vyry.mail.routing import NoSockets
from web.live import hub
from web.live.hub import SOCKET_TIMEOUTS, SocketTimeouts


Opener = Callable[[SocketTimeouts], AbstractAsyncContextManager[NodeServer]]


@pytest.fixture
def opened(sqlite_url: str, tmp_path: Path) -> Opener:
    """Opens a node with this patience."""

    @asynccontextmanager
    async def open_it(pace: SocketTimeouts) -> AsyncIterator[NodeServer]:
        async with open_node_server(NodeBackends(sqlite_url, None, tmp_path), pace) as house:
            yield house

    return open_it


async def raw(device: Device, token: str | None = None) -> aiohttp.ClientWebSocketResponse:
    """A socket whose pings the test itself answers, or not."""
    headers = {"Authorization": f"Bearer {token or device.token}"}
    return await device.node.http.ws_connect(f"{device.node.url}/api/v1/ws", headers=headers, autoping=False)


async def next_of(socket: aiohttp.ClientWebSocketResponse, kind: aiohttp.WSMsgType) -> aiohttp.WSMessage:
    """The next message of this kind; others are passed over."""
    async with asyncio.timeout(10):
        while (message := await socket.receive()).type is not kind:
            assert message.type not in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    return message


def test_the_pace_is_as_promised() -> None:
    assert (
        SOCKET_TIMEOUTS.hello,
        SOCKET_TIMEOUTS.ping_after,
        SOCKET_TIMEOUTS.close_after,
    ) == (10, 20, 30)


async def test_who_says_no_hello_is_closed(opened: Opener) -> None:
    async with opened(SocketTimeouts(hello=0.2)) as house:
        socket = await raw(await house.node.sign_up(with_keys=False))

        closed = await next_of(socket, aiohttp.WSMsgType.CLOSE)
        assert (closed.data, closed.extra) == (4408, "no hello within 0.2 s")


async def test_pings_are_no_hello(opened: Opener) -> None:
    async with opened(SocketTimeouts(hello=0.3)) as house:
        socket = await raw(await house.node.sign_up(with_keys=False))
        await socket.ping(b"hello?")

        assert (await next_of(socket, aiohttp.WSMsgType.PONG)).data == b"hello?"
        assert (await next_of(socket, aiohttp.WSMsgType.CLOSE)).data == 4408


async def test_who_stays_silent_is_pinged_once_and_closed(opened: Opener) -> None:
    async with opened(SocketTimeouts(ping_after=0.1, close_after=0.5, check_interval=0.02)) as house:
        line = await DeviceSocket.connect_and_resume(await house.node.sign_up(with_keys=False), codec="json")
        await line.close()
        socket = await raw(line.device)
        await socket.send_json({"type": "hello", "id": "1", "payload": {"after": 0}})

        kinds = []
        while (message := await socket.receive(timeout=10)).type is not aiohttp.WSMsgType.CLOSE:
            kinds.append(message.type)

        assert kinds == [aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING]
        assert message.data == 4408


async def test_who_answers_pings_lives(opened: Opener) -> None:
    async with opened(SocketTimeouts(ping_after=0.2, close_after=1.5, check_interval=0.02)) as house:
        socket = await raw(await house.node.sign_up(with_keys=False))
        await socket.send_json({"type": "hello", "id": "1", "payload": {"after": 0}})

        for _ in range(9):
            await socket.pong((await next_of(socket, aiohttp.WSMsgType.PING)).data)
        await socket.send_json({"type": "ping", "id": "alive", "payload": {}})

        assert orjson.loads((await next_of(socket, aiohttp.WSMsgType.TEXT)).data)["type"] == "pong"
        await socket.close()


async def test_a_socket_ends_with_its_token_unless_it_is_renewed(opened: Opener) -> None:
    async with opened(SocketTimeouts(check_interval=0.05)) as house:
        ann, bo = await house.node.sign_up(with_keys=False), await house.node.sign_up(with_keys=False)
        lines = []
        for device in (ann, bo):
            short = await house.issue_short_lived(device, timedelta(seconds=2))
            device.session["accessToken"], fresh = short, device.token
            lines.append(await DeviceSocket.connect_and_resume(device, codec="json"))
            device.session["accessToken"] = fresh
        renewing, ending = lines

        renewed = await renewing.request("renew", accessToken=ann.token)

        assert await ending.wait_closed(10) == 4401
        assert await renewing.request("ping") == {}
        assert renewed["expiresAt"].endswith("Z")
        await renewing.close()


async def test_only_a_token_of_the_same_device_renews(opened: Opener) -> None:
    async with opened(SOCKET_TIMEOUTS) as house:
        ann, bo = await house.node.sign_up(), await house.node.sign_up(with_keys=False)
        tablet = await house.add_linked_device(ann)
        line = await DeviceSocket.connect_and_resume(ann, codec="json")

        for token in (bo.token, tablet.token, "nonsense"):
            with pytest.raises(RequestRefused) as refused:
                await line.request("renew", accessToken=token)
            assert refused.value.code == "INVALID_TOKEN"

        assert await line.request("ping") == {}
        await line.close()


async def test_an_ended_device_that_nobody_told_of_is_found(opened: Opener) -> None:
    async with opened(SocketTimeouts(catch_up_interval=0.2)) as house:
        ann = await house.node.sign_up(with_keys=False)
        line = await DeviceSocket.connect_and_resume(ann, codec="json")
        house.services.sockets.attach(NoSockets())

        await ann.call("POST", "/auth/logout")

        assert await line.wait_closed(10) == 4401


async def test_a_lost_hint_is_made_up_for(opened: Opener) -> None:
    async with opened(SocketTimeouts(catch_up_interval=0.2)) as house:
        ann, bo, together = await house.sign_up_pair()
        line = await DeviceSocket.connect_and_resume(bo)
        house.services.sockets.attach(UnawareNode())

        await ann.post(together, bo, b"hello")
        await line.wait_for_entries(1)

        assert bo.contents == [b"hello"]
        await line.close()


class UnawareNode(NoSockets):
    """A node that believes it holds no sockets, and whose notices of deposits are lost."""

    def on_deposited(self, rows: object) -> set[MailboxKey]:
        return set()


async def test_a_draining_node_ends_its_sockets_one_by_one_and_takes_no_new_one(opened: Opener) -> None:
    async with opened(SOCKET_TIMEOUTS) as house:
        people = [await house.node.sign_up(with_keys=False) for _ in range(5)]
        lines = [await DeviceSocket.connect_and_resume(person, codec="json") for person in people]
        ends = [asyncio.create_task(ended_at(line)) for line in lines]

        async with asyncio.timeout(10):
            await house.socket_hub.drain(2.0)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await DeviceSocket.connect(people[0])

        moments = [await end for end in ends]
        pauses = [later - earlier for earlier, later in pairwise(moments)]
        assert all(0.2 < pause < 0.8 for pause in pauses)
        assert refused.value.status == 503


async def test_a_device_is_asked_to_come_back_at_once_or_at_its_turn(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RECONNECTS_PER_SECOND", 0.5)
    async with opened(SOCKET_TIMEOUTS) as house:
        people = [await house.node.sign_up(with_keys=False) for _ in range(4)]
        lines = [await DeviceSocket.connect_and_resume(person, codec="json") for person in people]

        async with asyncio.timeout(10):
            await house.socket_hub.drain(0.0)
        goodbyes = [line.frames.get_nowait() for line in lines]

        waits = [goodbye["payload"]["retryAfterSeconds"] for goodbye in goodbyes]
        assert {goodbye["type"] for goodbye in goodbyes} == {"goodbye"}
        assert [await line.wait_closed(5) for line in lines] == [1001] * 4
        assert waits[0] == 0
        # The time until the frame was queued is a part of the wait.
        assert all(turn - 1 < wait <= turn for turn, wait in zip((2, 4, 6), waits[1:], strict=True))


async def ended_at(line: DeviceSocket) -> float:
    """When the socket was closed by a stopping node that asked its device to come back at once."""
    assert await line.wait_closed(10) == 1001
    assert line.frames.get_nowait()["payload"] == {"reason": "shutdown", "retryAfterSeconds": 0}
    return time.monotonic()


async def test_posts_under_way_are_answered_before_the_socket_closes(opened: Opener) -> None:
    async with opened(SOCKET_TIMEOUTS) as house:
        ann, bo, together = await house.sign_up_pair()
        line = await DeviceSocket.connect_and_resume(ann, codec="json")
        bodies = [ann.build_post(together, [bo.user_id], b"%d" % n) for n in range(20)]
        asked = [asyncio.create_task(line.request("post", **body)) for body in bodies]
        await wait_until(lambda: house.services.posting._received_count > 0)

        under_way = house.services.posting._received_count
        await house.socket_hub.drain()
        answers = await asyncio.gather(*asked, return_exceptions=True)

        assert await line.wait_closed(5) == 1001
        assert [answer["copies"] for answer in answers[:under_way] if isinstance(answer, dict)] == [1] * under_way


#: Each is refused with some two kilobytes, so that a few thousand fill every buffer on the way.
WRONG = orjson.dumps({"type": "post", "id": "x" * 64, "payload": {"y" * 40 + str(n): 0 for n in range(20)}}).decode()


async def test_who_takes_nothing_is_cut_off_and_neighbours_go_on(opened: Opener) -> None:
    async with opened(SocketTimeouts(slow_reader=0.3)) as house:
        ann, bo, together = await house.sign_up_pair()
        slow = await raw(await house.node.sign_up(with_keys=False))
        await slow.send_json({"type": "hello", "id": "1", "payload": {"after": 0}})
        line = await DeviceSocket.connect_and_resume(bo)

        async def flood() -> None:
            for _ in range(100_000):
                await slow.send_str(WRONG)

        flooding = asyncio.create_task(flood())
        for n in range(1, 21):
            await ann.post(together, bo, b"%d" % n)
            await line.wait_for_entries(n, seconds=10)
        async with asyncio.timeout(50):
            with pytest.raises(ConnectionError):
                await flooding

        await wait_until(lambda: len(house.socket_hub._open_sockets) == 1)
        assert await line.request("ping") == {}
        await line.close()
