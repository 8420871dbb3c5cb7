"""`vyry start`: a whole node in one process, on a file of its own."""

import asyncio
import os
from functools import partial

from agents.room import sorting_room
from vyry.adapters.migrating import migrate, refuse_unknown
from vyry.bootstrap import open_services
from vyry.cli.acting import SOMEBODY, write
from vyry.cli.front import front_door, refuse_taken
from vyry.cli.running import refuse_lost_secrets, run
from vyry.cli.streams import flushed
from vyry.settings import Role, Settings, load_settings, masked, unsafe
from vyry.telemetry import configure_logging, log


def start() -> int:
    """Run a whole node in this process: front door, mailbox agents, sweeper, on a SQLite file in VYRY_DATA_DIR.

    With nothing set it makes the folder and its secrets, migrates, and serves on http://127.0.0.1:8000. It behaves as in production unless
    VYRY_ENV=development is set; unsafe settings are warned about, and with VYRY_ENV=production they are refused.
    """
    # What this process makes is nobody else's to read.
    os.umask(0o077)
    settings = load_settings(Role.ALONE)
    configure_logging(settings.log_level)
    asyncio.run(refuse_unknown(settings.database_url.get_secret_value()))
    refuse_taken(settings)
    for line in unsafe(settings):
        log.warning("unsafe", setting=line)
    return run(partial(serve, settings))


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Be a whole node until `stop` is set."""
    url = settings.database_url.get_secret_value()
    if applied := await migrate(url):
        await write(url, SOMEBODY.act("migrate", about=f"vyry start: {', '.join(applied)}"))
    await refuse_lost_secrets(settings)
    async with (
        open_services(settings, Role.ALONE) as services,
        sorting_room(settings, services),
        front_door(settings, services) as port,
    ):
        # Whoever started it may not look: a standard output that is closed or full stops no node.
        print(_banner(settings, port))
        flushed()
        await stop.wait()


def _banner(settings: Settings, port: int) -> str:
    host = "localhost" if settings.server_host in ("127.0.0.1", "0.0.0.0", "::1", "::") else settings.server_host  # noqa: S104  compared only
    scheme = "https" if settings.tls_cert_file else "http"
    kind, _, target = settings.sms.get_secret_value().partition(":")
    codes = {"console": "one-time codes are shown here", "file": f"one-time codes go to {target}"}.get(
        kind, "one-time codes go out by webhook"
    )
    return f"""
  Vyry is up.

  listening   {scheme}://{host}:{port}   (docs: {scheme}://{host}:{port}/docs, metrics: port {settings.admin_port}, loopback only)
  data        {masked(settings.database_url.get_secret_value())}
  secrets     {settings.data_dir}: back them up with the data, apart from it
  embedded    streams, hints and limits run inside this process; {codes}

  try next    curl {scheme}://{host}:{port}/health
              python examples/first_message.py
  stop        Ctrl-C
"""
