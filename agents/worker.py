"""The worker: the mailbox agents and the sweeper of one process. While Kafka is down the sweeper continues; nothing here ends the process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Never

from agents.app import GroupMember, build_when_topic_exists, in_process_app, kafka_app
from agents.in_process import WorkRecordSource
from agents.membership import Membership
from agents.naming import claim_name
from agents.progress import Progress
from agents.running import AppFactory, build_immediately, keep_running
from agents.sweeper import MAX_BATCH, PeriodicTask, Sweeper
from vyry.composition.services import Services
from vyry.errors import Unavailable
from vyry.kafka.assignor import WorkerAssignor
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
    """Run the worker while the context is open: on Kafka if it is set, else on the work records of this process. Closes soon after 5 s.

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
    with suppress(Unavailable):
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
            PeriodicTask("idle", IDLE_SECONDS, partial(services.idle_devices.sweep, MAX_BATCH)),
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
    return build_when_topic_exists(url, lambda: kafka_app(url, depositor, meter, member))


def _log_thread_end(end: threading.ExceptHookArgs) -> None:
    """Log one line when Faust's consumer thread ends without a broker, in place of a traceback."""
    log.warning("consumer_thread_ended", error=end.exc_type.__name__)
