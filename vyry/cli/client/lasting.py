"""How long a command lasts: what it says while it waits, what it says when it is ended, and how one that follows events gives the profile away in between."""

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.plain import set_in
from vyry.client.opening import Profile
from vyry.client.refusals import Unreachable
from vyry.client.turns import asked_for
from vyry.client.waits import Waits


if TYPE_CHECKING:
    from vyry.client.client import Client

#: Whoever gave the profile away takes it back when nobody has wanted it for so long.
_GIVEN_SECONDS: Final = 0.3
#: As good as for ever.
_FOREVER: Final = 1e9


def patient(seconds: float, *, is_asking: bool = True) -> Waits:
    """A command waits so long without progress, and says on standard error that it does, each thing once."""
    said: set[str] = set()

    def tell(text: str) -> None:
        if text not in said:
            said.add(text)
            print(set_in(f"vyry: {text}"), file=sys.stderr, flush=True)

    return Waits(seconds=seconds, told=tell, is_asking=is_asking)


async def follow(profile: Profile, waits: Waits, act: Any) -> None:
    """Do it until it ends by itself; whenever another process asks for the profile, `client.stop` ends it, and it begins again after that process."""
    # What speaks to nodes takes long to load.
    opened = import_module("vyry.client.client").Client.open
    while True:
        async with opened(profile, waits=waits) as client:
            with asked_for(profile.folder, client.stop):
                await act(client)
            if not client.stop.asked.is_set():
                return
        await asyncio.sleep(_GIVEN_SECONDS)
        waits = Waits(seconds=_FOREVER, is_asking=False)


async def out(client: "Client", chat: UUID | None = None, content_id: UUID | None = None) -> dict[UUID, str]:
    """What was refused of what was to be sent, once nothing waits any more. Raises Ended when the content, or without one anything, is kept and goes out later, whether a signal ended the wait or time."""
    try:
        return dict(await client.sent())
    except (Unreachable, asyncio.CancelledError) as stopped:
        if chat is not None and content_id not in client.conversations.decisions.unsent(chat):
            return {}
        why = str(stopped) or "it was interrupted"
        names = {} if content_id is None else {"id": str(content_id), "conversationId": str(chat)}
        told = f"Kept, goes out later: with the next command of this profile that reaches the node. The same line does not send it twice. ({why})"
        raise Ended(Exit.KEPT, told, {"kept": True, **names}) from None
