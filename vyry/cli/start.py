"""`vyry start`: a complete node in one process, with SQLite."""

import asyncio
import os
from functools import partial

from agents.worker import run_worker
from vyry.accounts.signup_invitations import InvitationTerms, invitation_link
from vyry.cli.invite import listening_origin
from vyry.cli.operator import CURRENT_OPERATOR, write_audit_entry_async
from vyry.cli.process import announce_start, require_original_secrets, run_process
from vyry.cli.stdio import flush_stdout
from vyry.cli.web import check_listen_address, web_server
from vyry.composition.services import open_services
from vyry.operator.secret_files import read_peppers
from vyry.operator.signup_invitations import create_invitation, has_accounts
from vyry.settings.settings import Role, Settings, load_settings, unsafe_settings
from vyry.settings.types import mask_url
from vyry.storage.migrator import migrate, refuse_unknown
from vyry.telemetry import configure_logging, log


def start() -> int:
    """Run a complete node in one process with SQLite: for a laptop or a small team.

    It runs web server, mailbox agents and sweeper on a SQLite file in VYRY_DATA_DIR.

    Without settings it creates the data folder and secrets, runs migrations, and listens on http://127.0.0.1:8000. Without VYRY_ENV it
    runs in production mode and only warns about unsafe settings; with VYRY_ENV=production, they stop the start.
    """
    # Files that this process creates are readable by their owner only.
    os.umask(0o077)
    settings = load_settings(Role.START)
    configure_logging(settings.log_level)
    announce_start(settings, Role.START)
    asyncio.run(refuse_unknown(settings.database_url.get_secret_value()))
    check_listen_address(settings)
    for line in unsafe_settings(settings):
        log.warning("unsafe_setting", setting=line)
    return run_process(partial(serve_all, settings))


async def serve_all(settings: Settings, stop: asyncio.Event) -> None:
    """Run a complete node until `stop` is set."""
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
        # A standard output that is closed or full does not stop the node.
        invitation = await _invite_first_person(settings, port)
        print(_startup_text(settings, port, invitation))
        flush_stdout()
        await stop.wait()


async def _invite_first_person(settings: Settings, port: int) -> str:
    """The line of the banner with a link for one person; empty unless the node has no account yet and takes invitations."""
    if "invitation" not in settings.sign_up or await has_accounts():
        return ""
    act = CURRENT_OPERATOR.audit_entry("invite", details="vyry start, which found no account")
    peppers = read_peppers(settings.pepper.get_secret_value())
    _, token = await create_invitation(peppers, InvitationTerms(label="vyry start"), act)
    link = invitation_link(listening_origin(settings, port), token)
    return f"\n  invitation  {link}\n              for one person, for 7 days; `vyry invite` makes another"


def _startup_text(settings: Settings, port: int, invitation: str) -> str:
    origin = listening_origin(settings, port)
    kind, _, target = settings.sms.get_secret_value().partition(":")
    codes = {"console": "one-time codes are printed here", "file": f"one-time codes are written to {target}"}.get(
        kind, "one-time codes are sent by webhook"
    )
    return f"""
  Vyry is running.

  listening   {origin}   (docs: {origin}/docs, metrics: port {settings.admin_port}, loopback only)
  data        {mask_url(settings.database_url.get_secret_value())}
  secrets     {settings.data_dir}: back them up too, in a different place than the data
  in-process  work queue, notifications and rate limits run in this process; {codes}{invitation}

  try next    curl {origin}/health
              python examples/first_message.py
  stop        Ctrl-C
"""
