"""Sending wake-ups beside everything else: lanes that do not hold each other up, and what happens after each answer. Stores of memory, real services."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.account_room import StandingClock
from tests.carrier_house import answering, hanging
from tests.contracts.mail_room import open_room
from tests.contracts.waking_room import WakingRoom, open_waking
from tests.push_house import PushHouse, open_push_house
from vyry.adapters.fcm import Fcm, ServiceAccount
from vyry.adapters.memory_mail import MemoryMailStore
from vyry.adapters.memory_wakes import MemoryWakes
from vyry.adapters.web_push import WebPush
from vyry.clock import SystemClock
from vyry.devices import waking as module
from vyry.devices.endpoints import Reach
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.waking import Fate, Lane, Outcome, Pusher, Unset, Wake, Wakes
from vyry.errors import Unavailable
from vyry.ids import MailboxKey
from vyry.mail.store import Caps


WEB = (PushKind.WEBPUSH, PushKind.UNIFIEDPUSH)


@pytest.fixture
async def services() -> AsyncIterator[PushHouse]:
    async with open_push_house() as opened:
        yield opened


@pytest.fixture
async def room(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WakingRoom]:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    async with open_room(None, Caps()) as mail, open_waking(mail) as opened:
        yield opened


def web() -> Pusher:
    return WebPush(None, StandingClock(), Reach(frozenset({"127.0.0.1"})))


@asynccontextmanager
async def waking(room: WakingRoom, lanes: Sequence[Lane]) -> AsyncIterator[Wakes]:
    wakes = Wakes(room.store, lanes)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(wakes.run())
        yield wakes
        running.cancel()


async def sleeper(room: WakingRoom, services: PushHouse, name: str) -> MailboxKey:
    """A device with mail, to be woken now."""
    box = await room.box(None)
    await room.register(box, PushTarget(PushKind.UNIFIEDPUSH, f"{services.url}/push/{name}"))
    await room.deposit(box)
    return box


def noted(fate: Fate) -> float:
    """How many answers of the services have been noted so: a request that reached a service may not have been answered yet."""
    return REGISTRY.get_sample_value("vyry_push_total", {"kind": "unifiedpush", "outcome": fate.value}) or 0.0


async def until(claim: Callable[[], bool]) -> None:
    for _ in range(2000):
        if claim():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


async def test_what_is_due_is_sent_once(room: WakingRoom, services: PushHouse) -> None:
    for name in ("ann", "bo", "cy"):
        await sleeper(room, services, name)
    await room.pass_time(seconds=4)

    async with waking(room, [Lane(WEB, web(), 2)]):
        await until(lambda: len(services.pushed) == 3)
        await room.pass_time(minutes=10)
        later = await sleeper(room, services, "dee")
        await room.pass_time(seconds=4)
        await until(lambda: len(services.pushed) == 4)

    assert sorted(each.name for each in services.pushed) == ["ann", "bo", "cy", "dee"]
    assert later in room.targets


async def test_a_carrier_that_hangs_holds_up_no_other(room: WakingRoom, services: PushHouse) -> None:
    async with open_push_house() as stuck:
        stuck.trouble = hanging
        for number in range(4):
            await sleeper(room, stuck, f"stuck{number}")
        fcm = Fcm(ServiceAccount.read(services.account()), SystemClock(), services.url)
        ann = await room.box(PushKind.FCM)
        await room.deposit(ann)
        await room.pass_time(seconds=4)

        async with waking(room, [Lane(WEB, web(), 4), Lane((PushKind.FCM,), fcm, 4)]):
            await until(lambda: stuck.asked == 4 and len(services.messages) == 1)

    assert services.messages[0]["token"] == room.targets[ann].token


async def test_a_target_that_is_gone_is_asked_once(room: WakingRoom, services: PushHouse) -> None:
    services.trouble = answering(410)
    box = await sleeper(room, services, "ann")
    await room.pass_time(seconds=4)

    async with waking(room, [Lane(WEB, web(), 4)]):
        await until(lambda: services.asked == 1)
        services.trouble = None
        await room.deposit(box)
        await room.pass_time(hours=1)
        await sleeper(room, services, "bo")
        await room.pass_time(seconds=4)
        await until(lambda: bool(services.pushed))

    assert [each.name for each in services.pushed] == ["bo"]


async def test_a_service_that_was_away_is_asked_again_later(
    room: WakingRoom, services: PushHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 60.0)
    services.trouble = answering(503)
    await sleeper(room, services, "ann")
    await room.pass_time(seconds=4)
    before = noted(Fate.LATER)

    async with waking(room, [Lane(WEB, web(), 4)]):
        await until(lambda: noted(Fate.LATER) == before + 1)
        services.trouble = None
        await room.pass_time(seconds=31)
        early = services.asked
        await room.pass_time(seconds=60)
        await until(lambda: bool(services.pushed))

    assert (early, services.asked) == (1, 2)


async def test_a_refusal_is_not_repeated_and_new_mail_is_another_try(room: WakingRoom, services: PushHouse) -> None:
    services.trouble = answering(400)
    box, before = await sleeper(room, services, "ann"), noted(Fate.REFUSED)
    await room.pass_time(seconds=4)

    async with waking(room, [Lane(WEB, web(), 4)]):
        await until(lambda: noted(Fate.REFUSED) == before + 1)
        await room.pass_time(hours=1)
        await asyncio.sleep(0.05)
        services.trouble, asked = None, services.asked
        await room.deposit(box)
        await room.pass_time(seconds=4)
        await until(lambda: bool(services.pushed))

    assert asked == 1


class Broken:
    """A carrier whose library raises what nobody thought of."""

    asked = 0

    async def push(self, target: PushTarget, *, is_urgent: bool) -> Outcome:
        self.asked += 1
        raise ZeroDivisionError(f"{target.endpoint} {is_urgent}")

    async def close(self) -> None:
        """Nothing is open."""


async def test_after_so_many_tries_it_is_given_up(room: WakingRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 5)
    broken = Broken()
    await room.deposit(await room.box(PushKind.FCM))
    await room.pass_time(seconds=4)

    async with waking(room, [Lane((PushKind.FCM,), broken, 4)]):
        await until(lambda: broken.asked == 5)
        await asyncio.sleep(0.05)
        await room.pass_time(hours=1)
        await asyncio.sleep(0.05)

    assert broken.asked == 5


class Slow(Broken):
    """A carrier that answers in its own time: so many outcomes, each told at once, and then it hangs."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = [*outcomes]

    async def push(self, target: PushTarget, *, is_urgent: bool) -> Outcome:
        self.asked += 1
        return self.outcomes.pop(0) if self.outcomes else await asyncio.Future()


async def test_a_try_that_never_ends_is_given_up_and_made_again(
    room: WakingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.0)
    slow = Slow()
    await room.deposit(await room.box(PushKind.FCM))
    await room.pass_time(seconds=4)

    async with waking(room, [Lane((PushKind.FCM,), slow, 1)]):
        await until(lambda: slow.asked == 3)


async def test_what_was_not_tried_is_never_given_up(room: WakingRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 2)
    busy = [Outcome(module.Fate.BUSY)] * 3
    slow = Slow(*busy, Outcome(module.Fate.LATER), *busy, Outcome(module.Fate.SENT))
    await room.deposit(await room.box(PushKind.FCM))
    await room.pass_time(seconds=4)

    async with waking(room, [Lane((PushKind.FCM,), slow, 1)]):
        await until(lambda: not slow.outcomes)

    assert slow.asked == 8


async def test_a_carrier_that_raises_tells_no_endpoint(room: WakingRoom) -> None:
    broken, box = Broken(), await room.box(None)
    await room.register(box, PushTarget(PushKind.UNIFIEDPUSH, "https://push.example/a-secret-place"))
    await room.deposit(box)
    await room.pass_time(seconds=4)

    with capture_logs() as logs:
        async with waking(room, [Lane(WEB, broken, 4)]):
            await until(lambda: broken.asked == 1)

    assert [(each["event"], each["error"]) for each in logs] == [("not pushed", "ZeroDivisionError")]
    assert "push.example" not in str(logs)


async def test_what_nobody_carries_waits_in_nobodys_way(room: WakingRoom) -> None:
    for _ in range(6):
        await room.deposit(await room.box(PushKind.APNS))
    await room.pass_time(seconds=4)

    async with waking(room, [Lane((PushKind.APNS,), Unset(), 2)]):
        await asyncio.sleep(0.1)
    await room.pass_time(hours=1)

    assert await room.due() == []


class Away(MemoryWakes):
    """A store whose database is away for a while."""

    is_away = True

    async def ring(self, mailboxes: Collection[MailboxKey]) -> None:
        self._look()
        await super().ring(mailboxes)

    async def claim(self, kinds: Collection[PushKind], limit: int) -> list[Wake]:
        self._look()
        return await super().claim(kinds, limit)

    async def sent(self, wake: Wake, rest: timedelta) -> None:
        self._look()
        await super().sent(wake, rest)

    def _look(self) -> None:
        if self.is_away:
            raise Unavailable


async def test_an_outage_of_the_database_loses_a_ring_and_no_wake_up(services: PushHouse, room: WakingRoom) -> None:
    assert isinstance(room.mail.store, MemoryMailStore)
    room.store = away = Away(room.mail.store.room)
    box = await sleeper(room, services, "ann")
    await room.pass_time(seconds=4)

    async with waking(room, [Lane(WEB, web(), 4)]) as wakes:
        await wakes.ring([box])
        await asyncio.sleep(0.05)
        asked, away.is_away = services.asked, False
        await until(lambda: bool(services.pushed))

    assert asked == 0


@pytest.mark.parametrize(
    ("attempts", "asked", "least"), [(1, 0, 5), (3, 0, 20), (12, 0, 900), (1, 60, 60), (1, 1e9, 900)]
)
def test_waits_double_are_bounded_and_heed_what_was_asked(attempts: int, asked: float, least: float) -> None:
    wake = module.Wake(
        UUID(int=1), PushTarget(PushKind.FCM), is_urgent=True, wakes=0, attempts=attempts, lease=StandingClock().now()
    )

    wait = module._wait(wake, Outcome(module.Fate.LATER, asked))

    assert timedelta(seconds=least) <= wait <= timedelta(seconds=least * 1.25)
