"""`vyry start`: a whole node in one process, on a file of its own."""

import asyncio
import os
from functools import partial

from agents.worker import run_worker
from vyry.cli.operator import CURRENT_OPERATOR, write_audit_entry_async
from vyry.cli.process import require_original_secrets, run_process
from vyry.cli.stdio import flush_stdout
from vyry.cli.web import check_listen_address, web_server
from vyry.composition.services import open_services
from vyry.settings.settings import Role, Settings, load_settings, mask_url, unsafe_settings
from vyry.storage.migrator import migrate, refuse_unknown
from vyry.telemetry import configure_logging, log


def start() -> int:
    """Run a whole node in this process: front door, mailbox agents, sweeper, on a SQLite file in VYRY_DATA_DIR.

    With nothing set it makes the folder and its secrets, migrates, and serves on http://127.0.0.1:8000. It behaves as in production unless
    VYRY_ENV=development is set; unsafe settings are warned about, and with VYRY_ENV=production they are refused.
    """
    # What this process makes is nobody else's to read.
    os.umask(0o077)
    settings = load_settings(Role.START)
    configure_logging(settings.log_level)
    asyncio.run(refuse_unknown(settings.database_url.get_secret_value()))
    check_listen_address(settings)
    for line in unsafe_settings(settings):
        log.warning("unsafe_setting", setting=line)
    return run_process(partial(serve_all, settings))


async def serve_all(settings: Settings, stop: asyncio.Event) -> None:
    """Be a whole node until `stop` is set."""
    url = settings.database_url.get_secret_value()
    if applied := await migrate(url):
        await write_audit_entry_async(
            url, CURRENT_OPERATOR.audit_entry("migrate", details=f"vyry start: {', '.join(applied)}")
        )
    await require_original_secrets(settings)
    async with (
        open_services(settings, Role.START) as services,
        run_worker(settings, services),
        web_server(settings, services) as port,
    ):
        # Whoever started it may not look: a standard output that is closed or full stops no node.
        print(_startup_text(settings, port))
        flush_stdout()
        await stop.wait()


def _startup_text(settings: Settings, port: int) -> str:
    host = "localhost" if settings.server_host in ("127.0.0.1", "0.0.0.0", "::1", "::") else settings.server_host  # noqa: S104  compared only
    scheme = "https" if settings.tls_cert_file else "http"
    kind, _, target = settings.sms.get_secret_value().partition(":")
    codes = {"console": "one-time codes are shown here", "file": f"one-time codes go to {target}"}.get(
        kind, "one-time codes go out by webhook"
    )
    return f"""
  Vyry is up.

  listening   {scheme}://{host}:{port}   (docs: {scheme}://{host}:{port}/docs, metrics: port {settings.admin_port}, loopback only)
  data        {mask_url(settings.database_url.get_secret_value())}
  secrets     {settings.data_dir}: back them up with the data, apart from it
  embedded    streams, hints and limits run inside this process; {codes}

  try next    curl {scheme}://{host}:{port}/health
              python examples/first_message.py
  stop        Ctrl-C
"""
