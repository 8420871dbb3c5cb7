"""The worker: the mailbox agents and the sweeper of one process. While Kafka is down the sweeper continues; nothing here ends the process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final, Never

import faust

from agents.app import in_process_app, kafka_app
from agents.in_process import WorkRecordSource
from agents.sweeper import MAX_BATCH, PeriodicTask, Sweeper
from vyry.composition.services import Services
from vyry.kafka.url import parse_brokers
from vyry.operator.audit import last_action_at
from vyry.outage import OutageTracker
from vyry.settings.settings import Settings
from vyry.telemetry import LAST_BACKUP, PARTITION_LAG, log


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
_LAG_SECONDS: Final = 1.0
_CONNECT_TIMEOUT_SECONDS: Final = 5.0


@asynccontextmanager
async def run_worker(settings: Settings, services: Services) -> AsyncIterator[None]:
    """Run the worker while the context is open: on Kafka if it is set, else on the work records of this process. Closes soon after STOP_TIMEOUT_SECONDS."""
    sweeper = _sweeper(settings, services)
    threading.excepthook = _log_thread_end
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(sweeper.run()),
            tasks.create_task(services.push.wakeups.run()),
            tasks.create_task(keep_running(_app_factory(settings, services, sweeper), OutageTracker("mailbox agents"))),
        ]
        yield
        for task in running:
            task.cancel()


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


def _app_factory(settings: Settings, services: Services, sweeper: Sweeper) -> Callable[[], Awaitable[faust.App]]:
    if settings.kafka_url is None:
        work_topic = services.work_topic
        assert isinstance(work_topic, WorkRecordSource), "without Kafka the work records are those of this process"
        return build_immediately(lambda: in_process_app(work_topic, services.depositor))
    url = settings.kafka_url.get_secret_value()
    return build_when_reachable(url, lambda: kafka_app(url, services.depositor, lambda _: sweeper.request_sweep()))


def build_immediately(build: Callable[[], faust.App]) -> Callable[[], Awaitable[faust.App]]:
    """Build the app without waiting."""

    async def builder() -> faust.App:
        return build()

    return builder


def build_when_reachable(url: str, build: Callable[[], faust.App]) -> Callable[[], Awaitable[faust.App]]:
    """Build the app only when a broker accepts connections: Faust logs pages of tracebacks for each failed attempt."""

    async def builder() -> faust.App:
        async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
            for number, server in enumerate(servers := parse_brokers(url), 1):
                host, _, port = server.rpartition(":")
                try:
                    _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                except OSError:
                    if number == len(servers):
                        raise
                    continue
                writer.close()
                break
        return build()

    return builder


async def keep_running(build: Callable[[], Awaitable[faust.App]], outage: OutageTracker) -> Never:
    """Keep an app running, a new one after each failure, until cancelled."""
    while True:
        try:
            async with _running(await build()) as app:
                outage.record_success()
                await _report_lag(app)
                wait = outage.record_failure(app.crash_reason or RuntimeError("stopped"))
        except Exception as problem:  # noqa: BLE001
            # Faust and its driver raise anything while the broker is down: the sweeper does the work meanwhile.
            wait = outage.record_failure(problem)
        await asyncio.sleep(wait)


@asynccontextmanager
async def _running(app: faust.App) -> AsyncIterator[faust.App]:
    try:
        async with asyncio.timeout(_START_TIMEOUT_SECONDS):
            await app.start()
        yield app
    finally:
        await _stop(app)


async def _report_lag(app: faust.App) -> None:
    """Measure the lag of each partition, until the app stops or crashes."""
    while not (app.should_stop or app.crashed):
        for tp in app.consumer.assignment():
            # Both are None until the first fetch, whatever Faust's types say.
            behind = (app.consumer.highwater(tp) or 0) - (await app.consumer.position(tp) or 0)
            PARTITION_LAG.labels(str(tp.partition)).set(max(0, behind))
        await app.sleep(_LAG_SECONDS)


def _log_thread_end(end: threading.ExceptHookArgs) -> None:
    """Log one line when Faust's consumer thread ends without a broker, in place of a traceback."""
    log.warning("consumer_thread_ended", error=end.exc_type.__name__)


async def _stop(app: faust.App) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
            await app.stop()
    except Exception as problem:  # noqa: BLE001 - the next app, or the end of the process, must not wait for this one
        log.warning("agents_stop_failed", error=type(problem).__name__)
