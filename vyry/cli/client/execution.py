"""How long a command lasts: what it says while it waits, what it says when it is ended, and how one that follows events gives the profile away in between."""

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import indent_continuation
from vyry.client.api.profile_lock import watch_requests
from vyry.client.errors import Unreachable
from vyry.client.store.profile import Profile
from vyry.client.transport.waits import Waits


if TYPE_CHECKING:
    from vyry.client.api.client import Client

#: Whoever gave the profile away takes it back when nobody has wanted it for so long.
_YIELD_SECONDS: Final = 0.3
#: As good as for ever.
_NO_TIMEOUT: Final = 1e9


def command_timeouts(seconds: float, *, is_asking: bool = True) -> Waits:
    """A command waits so long without progress, and says on standard error that it does, each thing once."""
    said: set[str] = set()

    def tell(text: str) -> None:
        if text not in said:
            said.add(text)
            print(indent_continuation(f"vyry: {text}"), file=sys.stderr, flush=True)

    return Waits(seconds=seconds, told=tell, requests_profile=is_asking)


async def run_following(profile: Profile, waits: Waits, act: Any) -> None:
    """Do it until it ends by itself; whenever another process asks for the profile, `client.stop` ends it, and it begins again after that process."""
    # What speaks to nodes takes long to load.
    opened = import_module("vyry.client.api.client").Client.open
    while True:
        async with opened(profile, waits=waits) as client:
            with watch_requests(profile.folder, client.stop):
                await act(client)
            if not client.stop.asked.is_set():
                return
        await asyncio.sleep(_YIELD_SECONDS)
        waits = Waits(seconds=_NO_TIMEOUT, requests_profile=False)


async def flush_outbox(client: "Client", chat: UUID | None = None, content_id: UUID | None = None) -> dict[UUID, str]:
    """What was refused of what was to be sent, once nothing waits any more. Raises Ended when the content, or without one anything, is kept and goes out later, whether a signal ended the wait or time."""
    try:
        return dict(await client.sent())
    except (Unreachable, asyncio.CancelledError) as stopped:
        if chat is not None and content_id not in client.conversations.decisions.unsent(chat):
            return {}
        why = str(stopped) or "it was interrupted"
        names = {} if content_id is None else {"id": str(content_id), "conversationId": str(chat)}
        told = f"Kept, goes out later: with the next command of this profile that reaches the node. The same line does not send it twice. ({why})"
        raise CommandFailed(Exit.KEPT, told, {"kept": True, **names}) from None
