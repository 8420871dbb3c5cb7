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
from vyry.cli.errors import CommandError
from vyry.composition.push import vapid_path
from vyry.errors import Unavailable
from vyry.operator.audit import has_action
from vyry.operator.secret_files import read_peppers
from vyry.settings.settings import Settings
from vyry.storage.database import open_database
from vyry.storage.migrator import pending_migrations
from vyry.storage.peppers import list_peppers
from vyry.storage.push_targets import has_web_push
from vyry.telemetry import log


#: After the first signal; whoever watches over the process kills it after 30 s (Procfile, docker-compose.yml).
STOP_SECONDS: Final = 29.0
Serve = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def require_migrated(settings: Settings) -> None:
    """Serve no database that lacks a table. One that is away may come back: the node starts, and says so on /ready. Raises CommandError."""
    try:
        waiting = asyncio.run(pending_migrations(settings.database_url.get_secret_value()))
    except Unavailable:
        log.warning("dependency_down", dependency="database")
        return
    if waiting:
        raise CommandError(f"The database lacks {', '.join(waiting)}: run `vyry migrate` first.")


async def require_original_secrets(settings: Settings) -> None:
    """Serve no database without the secrets that it was used with: new ones would be those of another installation. Raises CommandError, Unavailable."""
    async with open_database(settings.database_url.get_secret_value()):
        used, is_rotated, is_subscribed = await list_peppers(), await has_action("rotateKeys"), await has_web_push()
    prints = set(map(fingerprint, read_peppers(settings.pepper.get_secret_value()).values()))
    if used and prints.isdisjoint(each.fingerprint for each in used):
        raise CommandError(
            f"{settings.pepper_file} is not the pepper that this database was used with, so no account would be found by its number: "
            "put the file back from a backup, or correct VYRY_PEPPER_FILE."
        )
    if is_rotated and not settings.key_ring_file.exists():
        raise CommandError(
            f"The keys were rotated, and {settings.key_ring_file} is not there: JWT_SECRET may be what leaked then. "
            "Put the file back from a backup, or run `vyry rotate-keys --now`: clients refresh by themselves."
        )
    if is_subscribed and not (key := vapid_path(settings)).exists():
        raise CommandError(
            f"Browsers have subscribed to Web Push, and its key {key} is not there: put the file back from a backup, or make another "
            "with `vyry secrets`; the push services refuse it for those browsers, and they get no push until they subscribe anew."
        )


def run_process(serve: Serve, *, parent: int | None = None) -> int:
    """Run `serve` until it returns; the event it gets is set when the process is asked to stop.

    `parent` is the reading end of a pipe that closes when the supervisor exits, which stops the process too. Returns the exit code: 1 after an
    unexpected exception, which is logged as `crashed`.
    """

    async def serve_until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _request_stop, stop, number.name)
        if parent is not None:
            loop.add_reader(parent, _on_supervisor_exit, stop, parent)
        await serve(stop)

    _tune_garbage_collector()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve_until_stopped())
    except (OSError, CommandError):
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


def _tune_garbage_collector() -> None:
    """What is loaded by now lives as long as the process: the garbage collector need not look at it again and again (docs/performance.md)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _request_stop(stop: asyncio.Event, reason: str) -> None:
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


def _on_supervisor_exit(stop: asyncio.Event, parent: int) -> None:
    asyncio.get_running_loop().remove_reader(parent)
    if not stop.is_set():
        _request_stop(stop, "supervisor exited")
