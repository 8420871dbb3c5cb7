"""The life of a serving process: it runs until SIGTERM or SIGINT, then finishes what it has, within 30 s whatever happens."""

import asyncio
import gc
import importlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from vyry.accounts.phone import fingerprint
from vyry.adapters.database import open_database
from vyry.adapters.migrating import pending
from vyry.adapters.operator_acts import was_done
from vyry.adapters.peppers import used_peppers
from vyry.adapters.push_targets import has_web_push
from vyry.adapters.ring_files import read_peppers
from vyry.cli.refusals import CannotServe
from vyry.errors import Unavailable
from vyry.push_wiring import vapid_path
from vyry.settings import Settings
from vyry.telemetry import log


#: After the first signal; whoever watches over the process kills it after 30 s (Procfile, docker-compose.yml).
STOP_SECONDS: Final = 29.0
Serve = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def refuse_unmigrated(settings: Settings) -> None:
    """Serve no database that lacks a table. One that is away may come back: the node starts, and says so on /ready. Raises CannotServe."""
    try:
        waiting = asyncio.run(pending(settings.database_url.get_secret_value()))
    except Unavailable:
        log.warning("away", dependency="database")
        return
    if waiting:
        raise CannotServe(f"The database lacks {', '.join(waiting)}: run `vyry migrate` first.")


async def refuse_lost_secrets(settings: Settings) -> None:
    """Serve no database without the secrets that it was used with: new ones would be those of another installation. Raises CannotServe, Unavailable."""
    async with open_database(settings.database_url.get_secret_value()):
        used, is_rotated, is_subscribed = await used_peppers(), await was_done("rotateKeys"), await has_web_push()
    prints = set(map(fingerprint, read_peppers(settings.pepper.get_secret_value()).values()))
    if used and prints.isdisjoint(each.fingerprint for each in used):
        raise CannotServe(
            f"{settings.pepper_file} is not the pepper that this database was used with, so no account would be found by its number: "
            "put the file back from a backup, or correct VYRY_PEPPER_FILE."
        )
    if is_rotated and not settings.key_ring_file.exists():
        raise CannotServe(
            f"The keys were rotated, and {settings.key_ring_file} is not there: JWT_SECRET may be what leaked then. "
            "Put the file back from a backup, or run `vyry rotate-keys --now`: clients refresh by themselves."
        )
    if is_subscribed and not (key := vapid_path(settings)).exists():
        raise CannotServe(
            f"Browsers have subscribed to Web Push, and its key {key} is not there: put the file back from a backup, or make another "
            "with `vyry secrets`; the push services refuse it for those browsers, and they get no push until they subscribe anew."
        )


def run(serve: Serve, *, parent: int | None = None) -> int:
    """Run `serve` until it returns; the event it gets is set when the process is asked to stop.

    `parent` is the reading end of a pipe whose closing means the same: the supervisor is gone.
    """

    async def serving() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _ask, stop, number.name)
        if parent is not None:
            loop.add_reader(parent, _orphaned, stop, parent)
        await serve(stop)

    _calm_collector()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serving())
    except (OSError, CannotServe):
        # A port that is taken, a folder that cannot be written, a secret that was lost: the command line has a line for it.
        raise
    except Exception:  # noqa: BLE001 - whatever it was, the last line of the log tells it
        log.exception("crashed")
        return 1
    log.info("stopped")
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the extra `uvloop` is installed; asyncio's own otherwise."""
    try:
        return cast("Callable[[], asyncio.AbstractEventLoop]", importlib.import_module("uvloop").new_event_loop)
    except ImportError:
        return None


def _calm_collector() -> None:
    """What is loaded by now lives as long as the process: the garbage collector need not look at it again and again (docs/performance.md)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _ask(stop: asyncio.Event, reason: str) -> None:
    if stop.is_set():
        # Asked twice: somebody is waiting at the keyboard.
        os._exit(130)
    stop.set()
    # A thread, because the loop itself may be what hangs.
    timer = threading.Timer(STOP_SECONDS, os._exit, [1])
    timer.daemon = True
    timer.start()
    # Last: whoever read the log may be gone too.
    log.info("stopping", reason=reason)


def _orphaned(stop: asyncio.Event, parent: int) -> None:
    asyncio.get_running_loop().remove_reader(parent)
    if not stop.is_set():
        _ask(stop, "the supervisor is gone")
