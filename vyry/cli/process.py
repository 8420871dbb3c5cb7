"""Runs a serving process until SIGTERM or SIGINT; it then finishes its requests and exits in limited time."""

import asyncio
import gc
import importlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from vyry import __version__
from vyry.accounts.phone import fingerprint
from vyry.errors import CommandError, Unavailable
from vyry.operator.audit import has_action
from vyry.operator.secret_files import read_peppers
from vyry.settings.push import vapid_path
from vyry.settings.settings import Role, Settings, set_names
from vyry.storage.database import open_database
from vyry.storage.migrator import pending_migrations, refuse_unknown
from vyry.storage.peppers import list_peppers
from vyry.storage.push import has_web_push
from vyry.telemetry import bind_process, log


#: From the first signal to a forced exit; for a web node VYRY_DRAIN_SECONDS (12) are added. The process manager kills later (docker-compose.yml).
STOP_SECONDS: Final = 17.0
Serve = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def require_migrated(settings: Settings) -> None:
    """Raises CommandError when a migration is missing, SchemaTooNew and SchemaTooOld when this release cannot run on the schema. A database that is down is no error: the node starts and /ready reports it."""
    url = settings.database_url.get_secret_value()
    try:
        asyncio.run(refuse_unknown(url))
        waiting = asyncio.run(pending_migrations(url))
    except Unavailable:
        log.warning("dependency_down", dependency="database")
        return
    if waiting:
        raise CommandError(f"Migrations not applied: {', '.join(waiting)}. Run `vyry migrate` first.")


async def require_original_secrets(settings: Settings) -> None:
    """Compare the secrets with those that the database was used with. Raises CommandError when one is missing or another, Unavailable."""
    async with open_database(settings.database_url.get_secret_value()):
        used, is_rotated, is_subscribed = await list_peppers(), await has_action("rotateKeys"), await has_web_push()
    prints = set(map(fingerprint, read_peppers(settings.pepper.get_secret_value()).values()))
    if used and prints.isdisjoint(each.fingerprint for each in used):
        raise CommandError(
            f"{settings.pepper_file} is not the pepper of this database; accounts cannot be found by phone number with it: "
            "restore the file from a backup, or correct VYRY_PEPPER_FILE."
        )
    if is_rotated and not settings.key_ring_file.exists():
        raise CommandError(
            f"The signing keys were rotated, but {settings.key_ring_file} does not exist, and JWT_SECRET alone may be a leaked key. "
            "Restore the file from a backup, or run `vyry rotate-keys --now` (clients refresh by themselves)."
        )
    if is_subscribed and not (key := vapid_path(settings.vapid_key_file, settings.data_dir)).exists():
        raise CommandError(
            f"Browsers have subscribed to Web Push, and its key {key} is missing: restore the file from a backup, or create another "
            "with `vyry secrets`; the push services refuse it for those browsers, and they get no push until they subscribe again."
        )


def announce_start(settings: Settings, role: Role, child: int | None = None) -> None:
    """Name this process in its log, and write the first line: version, and the names of the settings that are set."""
    node = settings.node_name or socket.gethostname()
    bind_process(node=node if child is None else f"{node}/{child}")
    log.info("starting", role=role.value, version=__version__, process=os.getpid(), settings=set_names())


def run_process(serve: Serve, *, parent: int | None = None, stop_seconds: float = STOP_SECONDS) -> int:
    """Run `serve` until it returns; its event is set when the process has to stop.

    `parent` is the reading end of a pipe that closes when the supervisor exits, which stops the process too. After a signal the process has `stop_seconds`. Returns the exit code: 1 after an
    unexpected exception, which is logged as `crashed`.
    """

    async def serve_until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _request_stop, stop, number.name, stop_seconds)
        if parent is not None:
            loop.add_reader(parent, _on_supervisor_exit, stop, parent, stop_seconds)
        await serve(stop)

    _tune_garbage_collector()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve_until_stopped())
    except (OSError, CommandError):
        # A port in use, a folder that is not writable, a lost secret: `main` prints one line for it.
        raise
    except Exception:  # noqa: BLE001 - the last line of the log has the traceback
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
    """Exclude what is loaded so far from garbage collection: it lives as long as the process (docs/performance.md)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _request_stop(stop: asyncio.Event, reason: str, seconds: float) -> None:
    if stop.is_set():
        # The second signal: the user does not want to wait.
        os._exit(130)
    stop.set()
    # A thread, because the event loop itself may hang.
    timer = threading.Timer(seconds, os._exit, [1])
    timer.daemon = True
    timer.start()
    # Last: writing the log fails when its reader has exited.
    log.info("stopping", reason=reason)


def _on_supervisor_exit(stop: asyncio.Event, parent: int, seconds: float) -> None:
    asyncio.get_running_loop().remove_reader(parent)
    if not stop.is_set():
        _request_stop(stop, "supervisor exited", seconds)
