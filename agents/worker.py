"""The worker: the mailbox agents and the sweeper of one process. While Kafka is down the sweeper continues; nothing here ends the process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Never

import faust

from agents.app import GroupMember, in_process_app, kafka_app
from agents.in_process import WorkRecordSource
from agents.membership import Membership
from agents.naming import claim_name
from agents.progress import AgentsStalled, Progress
from agents.sweeper import MAX_BATCH, PeriodicTask, Sweeper
from agents.transport import WorkerTransport
from vyry.composition.services import Services
from vyry.errors import Unavailable
from vyry.kafka.assignor import WorkerAssignor
from vyry.kafka.topic import TopicMissing, log_missing_topic, read_topic
from vyry.kafka.url import topic_name
from vyry.mail.partition_meter import PartitionMeter
from vyry.mail.work_record import TOPIC
from vyry.mail.workers import WorkerIdentity
from vyry.operator.audit import last_action_at
from vyry.outage import OutageTracker
from vyry.settings.settings import Settings
from vyry.telemetry import LAST_BACKUP, bind_process, log


RETENTION_SECONDS: Final = 600.0
#: A deleted account is erased within a minute, after a delay of 15 s (vyry/accounts/deletion.py).
ERASE_SECONDS: Final = 2.0
IDLE_SECONDS: Final = 600.0
#: How often dates in the future, from a clock that was ahead, are corrected.
CLAMP_DATES_SECONDS: Final = 60.0
#: Expired attachments and those of deleted accounts are deleted within a minute.
FILES_SECONDS: Final = 5.0
#: One step of the search for attachments without a row: 256 on a disk.
ORPHANS_SECONDS: Final = 120.0
#: An unanswered call rings at most this much longer.
CALLS_SECONDS: Final = 2.0
#: When the last backup was made.
BACKUP_SECONDS: Final = 30.0
#: How long a notice waits in the outbox.
NOTICES_SECONDS: Final = 0.5
#: Leaving the group takes milliseconds; a stuck broker must not delay the end.
STOP_TIMEOUT_SECONDS: Final = 5.0
_START_TIMEOUT_SECONDS: Final = 20.0
_MEASURE_SECONDS: Final = 1.0
AppFactory = Callable[[], Awaitable[faust.App]]


@dataclass(frozen=True, slots=True)
class _Agents:
    """What the agents of this worker have in common over all their apps."""

    membership: Membership
    meter: PartitionMeter
    sweeper: Sweeper
    name: str
    assignor: WorkerAssignor | None


@asynccontextmanager
async def run_worker(settings: Settings, services: Services) -> AsyncIterator[None]:
    """Run the worker while the context is open: on Kafka if it is set, else on the work records of this process. Closes soon after STOP_TIMEOUT_SECONDS.

    Raises WorkerNameTaken, in a group, when another live worker has its name.
    """
    sweeper = _sweeper(settings, services)
    threading.excepthook = _log_thread_end
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(sweeper.run()),
            tasks.create_task(services.push.wakeups.run()),
            tasks.create_task(_run_agents(settings, services, sweeper)),
        ]
        yield
        for task in running:
            task.cancel()


async def _run_agents(settings: Settings, services: Services, sweeper: Sweeper) -> Never:
    """Take a name, then read partitions under it."""
    meter = PartitionMeter(services.clock)
    services.depositor.attach_meter(meter)
    worker = await _take_name(settings, services)
    if settings.kafka_url is not None:
        bind_process(worker=worker.name)
    progress = Progress(meter)
    assignor = WorkerAssignor(worker.name) if settings.kafka_url else None
    membership = Membership(services.workers, meter, progress, assignor)
    factory = _app_factory(settings, services, _Agents(membership, meter, sweeper, worker.name, assignor))
    try:
        if isinstance(services.work_topic, WorkRecordSource):
            await _assign_all(services, services.work_topic.partitions, membership)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(membership.run(worker))
            tasks.create_task(keep_running(factory, OutageTracker("mailbox agents"), progress, membership.use_app))
    finally:
        await membership.leave(worker)
    raise AssertionError("both run until cancelled")


async def _assign_all(services: Services, partitions: int, membership: Membership) -> None:
    """Without Kafka this process has all partitions, and they are never reassigned."""
    await services.partitions.create_map(partitions, TOPIC)
    membership.on_assigned(range(partitions))


async def _take_name(settings: Settings, services: Services) -> WorkerIdentity:
    """The name of this worker, once the database is up: the sweeper waits for it too."""
    outage = OutageTracker("database")
    while True:
        try:
            return await claim_name(services.workers, settings.worker_name, is_alone=settings.kafka_url is None)
        except Unavailable as problem:
            await asyncio.sleep(outage.record_failure(problem))


def _sweeper(settings: Settings, services: Services) -> Sweeper:
    async def delete_expired() -> int:
        return await services.account_upkeep.delete_expired(services.clock.confirmed_now(), MAX_BATCH)

    async def clamp_dates() -> int:
        is_confirmed = not services.clock_monitor.is_in_doubt
        await services.account_upkeep.clamp_future_dates(
            services.clock.now(), services.pins.tries.lock, is_confirmed=is_confirmed
        )
        return 0

    async def sweep_idle() -> int:
        return await services.idle_devices.sweep(MAX_BATCH)

    async def delete_files() -> int:
        return await services.attachments.upkeep.delete_expired(MAX_BATCH)

    async def expire_calls() -> int:
        return await services.signals.calls.expire_unanswered(MAX_BATCH)

    async def delete_calls() -> int:
        return await services.signals.calls.delete_finished(MAX_BATCH)

    return Sweeper(
        services.mail_store.upkeep,
        depositor=services.depositor,
        clock=services.clock,
        handover_time=timedelta(milliseconds=settings.handover_ms),
        tasks=[
            PeriodicTask("forget", RETENTION_SECONDS, delete_expired),
            PeriodicTask("redate", CLAMP_DATES_SECONDS, clamp_dates),
            PeriodicTask("erase", ERASE_SECONDS, partial(services.deletion.erase, MAX_BATCH)),
            PeriodicTask("idle", IDLE_SECONDS, sweep_idle),
            PeriodicTask("files", FILES_SECONDS, delete_files),
            PeriodicTask("strays", ORPHANS_SECONDS, services.attachments.upkeep.delete_orphans),
            PeriodicTask("missed calls", CALLS_SECONDS, expire_calls),
            PeriodicTask("calls", RETENTION_SECONDS, delete_calls),
            PeriodicTask("backup", BACKUP_SECONDS, _measure_backup),
            PeriodicTask("notices", NOTICES_SECONDS, services.notice_poster.post_pending),
        ],
    )


async def _measure_backup() -> int:
    last = await last_action_at("backup")
    LAST_BACKUP.set(last.timestamp() if last else 0)
    return 0


def _app_factory(settings: Settings, services: Services, agents: _Agents) -> AppFactory:
    depositor, meter, membership = services.depositor, agents.meter, agents.membership
    if settings.kafka_url is None or agents.assignor is None:
        source = services.work_topic
        assert isinstance(source, WorkRecordSource), "without Kafka the work records are those of this process"
        return build_immediately(lambda: in_process_app(source, depositor, meter))
    url = settings.kafka_url.get_secret_value()

    def on_revoked() -> None:
        membership.on_revoked()
        agents.sweeper.request_sweep()

    def on_assigned(partitions: Collection[int]) -> None:
        membership.on_assigned(partitions)
        agents.sweeper.request_sweep()

    member = GroupMember(name=agents.name, assignor=agents.assignor, on_revoked=on_revoked, on_assigned=on_assigned)
    return build_when_reachable(url, lambda: kafka_app(url, depositor, meter, member))


def build_immediately(build: Callable[[], faust.App]) -> AppFactory:
    """Build the app without waiting."""

    async def builder() -> faust.App:
        return build()

    return builder


def build_when_reachable(url: str, build: Callable[[], faust.App]) -> AppFactory:
    """Build the app only when the brokers have the topic: Faust logs pages of tracebacks otherwise, and brokers may create a topic that is asked for."""

    async def builder() -> faust.App:
        if await read_topic(url) is None:
            log_missing_topic(topic_name(url))
            raise TopicMissing(topic_name(url))
        return build()

    return builder


async def keep_running(
    build: AppFactory,
    outage: OutageTracker,
    progress: Progress,
    on_app: Callable[[faust.App | None], None] = lambda _: None,
) -> Never:
    """Keep an app running, a new one after each failure, until cancelled; `on_app` gets each one, and None when it stops."""
    while True:
        try:
            async with _running(await build()) as app:
                on_app(app)
                outage.record_success()
                await _measure(app, progress)
                wait = outage.record_failure(app.crash_reason or RuntimeError("stopped"))
        except AgentsStalled as problem:
            log.error(
                "agents_stalled", partitions=list(problem.partitions), reason="they read no record: they start again"
            )
            wait = 0.0
        except Exception as problem:  # noqa: BLE001
            # Faust and its driver raise anything while the broker is down: the sweeper does the work meanwhile.
            wait = outage.record_failure(problem)
        finally:
            on_app(None)
        await asyncio.sleep(wait)


@asynccontextmanager
async def _running(app: faust.App) -> AsyncIterator[faust.App]:
    try:
        async with asyncio.timeout(_START_TIMEOUT_SECONDS):
            await app.start()
        yield app
    finally:
        await _stop(app)


async def _measure(app: faust.App, progress: Progress) -> None:
    """Measure the progress of the app until it stops or crashes. Raises AgentsStalled."""
    while not (app.should_stop or app.crashed):
        if not app.rebalancing:
            await progress.measure(app.consumer)
        await app.sleep(_MEASURE_SECONDS)


def _log_thread_end(end: threading.ExceptHookArgs) -> None:
    """Log one line when Faust's consumer thread ends without a broker, in place of a traceback."""
    log.warning("consumer_thread_ended", error=end.exc_type.__name__)


async def _stop(app: faust.App) -> None:
    if isinstance(app.transport, WorkerTransport):
        app.transport.is_leaving = True
    try:
        async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
            await app.stop()
    except Exception as problem:  # noqa: BLE001 - the next app, or the end of the process, must not wait for this one
        log.warning("agents_stop_failed", error=type(problem).__name__)
