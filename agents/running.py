"""Keeps the app of a worker running: a new one after each failure, and when the agents have stopped to read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Never

import faust

from agents.progress import AgentsStalled, Progress
from agents.transport import WorkerTransport
from vyry.outage import OutageTracker
from vyry.telemetry import log


#: Leaving the group takes milliseconds; a stuck broker must not delay the end.
STOP_TIMEOUT_SECONDS: Final = 5.0
_START_TIMEOUT_SECONDS: Final = 20.0
_MEASURE_SECONDS: Final = 1.0
AppFactory = Callable[[], Awaitable[faust.App]]


def build_immediately(build: Callable[[], faust.App]) -> AppFactory:
    """Build the app without waiting."""

    async def builder() -> faust.App:
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
                await _measure(app, progress, outage)
                wait = outage.record_failure(app.crash_reason or RuntimeError("stopped"))
        except AgentsStalled as problem:
            log.error("agents_stalled", partitions=list(problem.partitions), reason="a new consumer is started")
            wait = 0.0
        except Exception as problem:  # noqa: BLE001
            # Faust and its driver raise anything while the broker is down: the sweeper does the work meanwhile.
            wait = outage.record_failure(problem)
        finally:
            on_app(None)
        await asyncio.sleep(wait)


@asynccontextmanager
async def _running(app: faust.App) -> AsyncIterator[faust.App]:
    """The app. It leaves the group only when this task is cancelled, because the worker ends; otherwise the next app has its place."""
    try:
        async with asyncio.timeout(_START_TIMEOUT_SECONDS):
            await app.start()
        yield app
    except asyncio.CancelledError:
        if isinstance(app.transport, WorkerTransport):
            app.transport.is_leaving = True
        raise
    finally:
        await _stop(app)


async def _measure(app: faust.App, progress: Progress, outage: OutageTracker) -> None:
    """Measure the progress of the app until it stops or crashes. Raises AgentsStalled.

    Brokers that do not answer are an outage, and no reason for another app: aiokafka connects to them again by itself.
    """
    while not (app.should_stop or app.crashed):
        try:
            if not app.rebalancing:
                await progress.measure(app.consumer)
                outage.record_success()
        except AgentsStalled:
            raise
        except Exception as problem:  # noqa: BLE001 - the driver raises anything while a broker is down
            outage.record_failure(problem)
        await app.sleep(_MEASURE_SECONDS)


async def _stop(app: faust.App) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
            await app.stop()
    except Exception as problem:  # noqa: BLE001 - the next app, or the end of the process, must not wait for this one
        log.warning("agents_stop_failed", error=type(problem).__name__)
