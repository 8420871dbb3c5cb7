"""Waiting of a command: its timeouts, the outbox, and how a command that follows events yields the profile to others."""

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import indent_continuation
from vyry.client.api.profile_lock import watch_requests
from vyry.client.errors import Unreachable
from vyry.client.store.profile import Profile
from vyry.client.transport.waits import Waits


if TYPE_CHECKING:
    from vyry.client.api.client import Client

#: The pause after which a command that yielded the profile opens it again.
_YIELD_SECONDS: Final = 0.3
#: No limit in practice.
_NO_TIMEOUT: Final = 1e9


def command_timeouts(seconds: float, *, is_asking: bool = True) -> Waits:
    """The timeouts of a command, which prints on standard error what it waits for, each text once."""
    printed: set[str] = set()

    def print_once(text: str) -> None:
        if text not in printed:
            printed.add(text)
            print(indent_continuation(f"vyry: {text}"), file=sys.stderr, flush=True)

    return Waits(seconds=seconds, told=print_once, requests_profile=is_asking)


async def run_following(profile: Profile, waits: Waits, act: Any) -> None:
    """Run until the command ends. When another process requests the profile, `client.stop` interrupts the command, and it starts again afterwards."""
    # Imported late: aiohttp takes long to load.
    opened = cast("type[Client]", import_module("vyry.client.api.client").Client).open
    while True:
        async with opened(profile, waits=waits) as client:
            with watch_requests(profile.folder, client.stop):
                await act(client)
            if not client.stop.requested.is_set():
                return
        await asyncio.sleep(_YIELD_SECONDS)
        waits = Waits(seconds=_NO_TIMEOUT, requests_profile=False)


async def flush_outbox(client: "Client", chat: UUID | None = None, content_id: UUID | None = None) -> dict[UUID, str]:
    """Wait until the outbox is empty and return what was rejected. Raises CommandFailed when the content (without one: anything) stays in the outbox, after a timeout or a signal."""
    try:
        return dict(await client.sent())
    except (Unreachable, asyncio.CancelledError) as stopped:
        if chat is not None and content_id not in client.conversations.decisions.unsent(chat):
            return {}
        why = str(stopped) or "it was interrupted"
        names = {} if content_id is None else {"id": str(content_id), "conversationId": str(chat)}
        text = f"Not sent yet; stored and sent by the next command of this profile that reaches the node. Running the same command again does not send it twice. ({why})"
        raise CommandFailed(Exit.KEPT, text, {"kept": True, **names}) from None
