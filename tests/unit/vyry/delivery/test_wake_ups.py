"""Sending wake-ups beside everything else: lanes that do not hold each other up, and what happens after each answer. Stores of memory, real services."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.fakes.mail import MemoryMailStore
from tests.fakes.wakeups import MemoryWakeups
from tests.support.fake_clock import FakeClock
from tests.support.mail_store_harness import open_mail_store
from tests.support.push_server import PushServer, open_push_server
from tests.support.sms_provider_server import never_respond, respond_with
from tests.support.wake_harness import WakeHarness, open_wake_harness
from vyry.clock import SystemClock
from vyry.delivery.push.fcm import FcmPusher, ServiceAccount
from vyry.delivery.push.web_push import WebPusher
from vyry.devices import push_wakeups as module
from vyry.devices.endpoints import EndpointPolicy
from vyry.devices.push import PushKind, PushTarget
from vyry.devices.push_wakeups import DisabledPusher, Pusher, PushOutcome, PushPool, PushResult, Wakeup, WakeupSender
from vyry.errors import Unavailable
from vyry.kernel.ids import MailboxKey
from vyry.mail.store import MailboxCaps


WEB = (PushKind.WEBPUSH, PushKind.UNIFIEDPUSH)


@pytest.fixture
async def services() -> AsyncIterator[PushServer]:
    async with open_push_server() as opened:
        yield opened


@pytest.fixture
async def harness(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WakeHarness]:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    async with open_mail_store(None, MailboxCaps()) as mail, open_wake_harness(mail) as opened:
        yield opened


def web() -> Pusher:
    return WebPusher(None, FakeClock(), EndpointPolicy(frozenset({"127.0.0.1"})))


@asynccontextmanager
async def waking(harness: WakeHarness, lanes: Sequence[PushPool]) -> AsyncIterator[WakeupSender]:
    wakes = WakeupSender(harness.store, lanes)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(wakes.run())
        yield wakes
        running.cancel()


async def add_waiting_device(harness: WakeHarness, services: PushServer, name: str) -> MailboxKey:
    """A device with mail, to be woken now."""
    box = await harness.add_mailbox(None)
    await harness.register(box, PushTarget(PushKind.UNIFIEDPUSH, f"{services.url}/push/{name}"))
    await harness.deposit(box)
    return box


def count_noted(fate: PushResult) -> float:
    """How many answers of the services have been noted so: a request that reached a service may not have been answered yet."""
    return REGISTRY.get_sample_value("vyry_push_total", {"kind": "unifiedpush", "outcome": fate.value}) or 0.0


async def until(claim: Callable[[], bool]) -> None:
    for _ in range(2000):
        if claim():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


async def test_what_is_due_is_sent_once(harness: WakeHarness, services: PushServer) -> None:
    for name in ("ann", "bo", "cy"):
        await add_waiting_device(harness, services, name)
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool(WEB, web(), 2)]):
        await until(lambda: len(services.pushed) == 3)
        await harness.pass_time(minutes=10)
        later = await add_waiting_device(harness, services, "dee")
        await harness.pass_time(seconds=4)
        await until(lambda: len(services.pushed) == 4)

    assert sorted(each.name for each in services.pushed) == ["ann", "bo", "cy", "dee"]
    assert later in harness.targets


async def test_a_carrier_that_hangs_holds_up_no_other(harness: WakeHarness, services: PushServer) -> None:
    async with open_push_server() as stuck:
        stuck.fault = never_respond
        for number in range(4):
            await add_waiting_device(harness, stuck, f"stuck{number}")
        fcm = FcmPusher(ServiceAccount.read(services.service_account()), SystemClock(), services.url)
        ann = await harness.add_mailbox(PushKind.FCM)
        await harness.deposit(ann)
        await harness.pass_time(seconds=4)

        async with waking(harness, [PushPool(WEB, web(), 4), PushPool((PushKind.FCM,), fcm, 4)]):
            await until(lambda: stuck.request_count == 4 and len(services.fcm_messages) == 1)

    assert services.fcm_messages[0]["token"] == harness.targets[ann].token


async def test_a_target_that_is_gone_is_asked_once(harness: WakeHarness, services: PushServer) -> None:
    services.fault = respond_with(410)
    box = await add_waiting_device(harness, services, "ann")
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool(WEB, web(), 4)]):
        await until(lambda: services.request_count == 1)
        services.fault = None
        await harness.deposit(box)
        await harness.pass_time(hours=1)
        await add_waiting_device(harness, services, "bo")
        await harness.pass_time(seconds=4)
        await until(lambda: bool(services.pushed))

    assert [each.name for each in services.pushed] == ["bo"]


async def test_a_service_that_was_away_is_asked_again_later(
    harness: WakeHarness, services: PushServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 60.0)
    services.fault = respond_with(503)
    await add_waiting_device(harness, services, "ann")
    await harness.pass_time(seconds=4)
    before = count_noted(PushResult.LATER)

    async with waking(harness, [PushPool(WEB, web(), 4)]):
        await until(lambda: count_noted(PushResult.LATER) == before + 1)
        services.fault = None
        await harness.pass_time(seconds=31)
        early = services.request_count
        await harness.pass_time(seconds=60)
        await until(lambda: bool(services.pushed))

    assert (early, services.request_count) == (1, 2)


async def test_a_refusal_is_not_repeated_and_new_mail_is_another_try(
    harness: WakeHarness, services: PushServer
) -> None:
    services.fault = respond_with(400)
    box, before = await add_waiting_device(harness, services, "ann"), count_noted(PushResult.REFUSED)
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool(WEB, web(), 4)]):
        await until(lambda: count_noted(PushResult.REFUSED) == before + 1)
        await harness.pass_time(hours=1)
        await asyncio.sleep(0.05)
        services.fault, asked = None, services.request_count
        await harness.deposit(box)
        await harness.pass_time(seconds=4)
        await until(lambda: bool(services.pushed))

    assert asked == 1


class FailingPusher:
    """A carrier whose library raises what nobody thought of."""

    asked = 0

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        self.asked += 1
        raise ZeroDivisionError(f"{target.endpoint} {is_urgent}")

    async def close(self) -> None:
        """Nothing is open."""


async def test_after_so_many_tries_it_is_given_up(harness: WakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 5)
    broken = FailingPusher()
    await harness.deposit(await harness.add_mailbox(PushKind.FCM))
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool((PushKind.FCM,), broken, 4)]):
        await until(lambda: broken.asked == 5)
        await asyncio.sleep(0.05)
        await harness.pass_time(hours=1)
        await asyncio.sleep(0.05)

    assert broken.asked == 5


class SlowPusher(FailingPusher):
    """A carrier that answers in its own time: so many outcomes, each told at once, and then it hangs."""

    def __init__(self, *outcomes: PushOutcome) -> None:
        self.outcomes = [*outcomes]

    async def push(self, target: PushTarget, *, is_urgent: bool) -> PushOutcome:
        self.asked += 1
        return self.outcomes.pop(0) if self.outcomes else await asyncio.Future()


async def test_a_try_that_never_ends_is_given_up_and_made_again(
    harness: WakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.0)
    slow = SlowPusher()
    await harness.deposit(await harness.add_mailbox(PushKind.FCM))
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool((PushKind.FCM,), slow, 1)]):
        await until(lambda: slow.asked == 3)


async def test_what_was_not_tried_is_never_given_up(harness: WakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 2)
    busy = [PushOutcome(module.PushResult.BUSY)] * 3
    slow = SlowPusher(*busy, PushOutcome(module.PushResult.LATER), *busy, PushOutcome(module.PushResult.SENT))
    await harness.deposit(await harness.add_mailbox(PushKind.FCM))
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool((PushKind.FCM,), slow, 1)]):
        await until(lambda: not slow.outcomes)

    assert slow.asked == 8


async def test_a_carrier_that_raises_tells_no_endpoint(harness: WakeHarness) -> None:
    broken, box = FailingPusher(), await harness.add_mailbox(None)
    await harness.register(box, PushTarget(PushKind.UNIFIEDPUSH, "https://push.example/a-secret-place"))
    await harness.deposit(box)
    await harness.pass_time(seconds=4)

    with capture_logs() as logs:
        async with waking(harness, [PushPool(WEB, broken, 4)]):
            await until(lambda: broken.asked == 1)

    assert [(each["event"], each["error"]) for each in logs] == [("push_failed", "ZeroDivisionError")]
    assert "push.example" not in str(logs)


async def test_what_nobody_carries_waits_in_nobodys_way(harness: WakeHarness) -> None:
    for _ in range(6):
        await harness.deposit(await harness.add_mailbox(PushKind.APNS))
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool((PushKind.APNS,), DisabledPusher(), 2)]):
        await asyncio.sleep(0.1)
    await harness.pass_time(hours=1)

    assert await harness.claim_wakes() == []


class UnavailableStore(MemoryWakeups):
    """A store whose database is away for a while."""

    is_away = True

    async def plan_urgent(self, mailboxes: Collection[MailboxKey]) -> None:
        self._look()
        await super().plan_urgent(mailboxes)

    async def claim(self, kinds: Collection[PushKind], limit: int) -> list[Wakeup]:
        self._look()
        return await super().claim(kinds, limit)

    async def record_sent(self, wake: Wakeup, rest: timedelta) -> None:
        self._look()
        await super().record_sent(wake, rest)

    def _look(self) -> None:
        if self.is_away:
            raise Unavailable


async def test_an_outage_of_the_database_loses_a_ring_and_no_wake_up(
    services: PushServer, harness: WakeHarness
) -> None:
    assert isinstance(harness.mail.store, MemoryMailStore)
    harness.store = away = UnavailableStore(harness.mail.store.state)
    box = await add_waiting_device(harness, services, "ann")
    await harness.pass_time(seconds=4)

    async with waking(harness, [PushPool(WEB, web(), 4)]) as wakes:
        await wakes.wake_for_call([box])
        await asyncio.sleep(0.05)
        asked, away.is_away = services.request_count, False
        await until(lambda: bool(services.pushed))

    assert asked == 0


@pytest.mark.parametrize(
    ("attempts", "asked", "least"), [(1, 0, 5), (3, 0, 20), (12, 0, 900), (1, 60, 60), (1, 1e9, 900)]
)
def test_waits_double_are_bounded_and_heed_what_was_asked(attempts: int, asked: float, least: float) -> None:
    wake = module.Wakeup(
        UUID(int=1),
        PushTarget(PushKind.FCM),
        is_urgent=True,
        times_woken=0,
        attempts=attempts,
        lease_ends_at=FakeClock().now(),
    )

    wait = module._backoff(wake, PushOutcome(module.PushResult.LATER, asked))

    assert timedelta(seconds=least) <= wait <= timedelta(seconds=least * 1.25)
