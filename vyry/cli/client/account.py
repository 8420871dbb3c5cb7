"""Commands about the account of a profile: sign up, and who one is."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.where import HERE, Where
from vyry.cli.throwaway import code_in
from vyry.client.client import Client


def register(phone_number: str, /, *, codes: Path | None = None, where: Where = HERE) -> None:
    """Sign up with a telephone number; the code that it is sent is asked for. All other devices of the account end.

    Args:
        phone_number: In E.164, such as +491512345678.
        codes: Read the code from this file, which the node writes (its VYRY_SMS is file:PATH), instead of asking.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        user_id = await client.register(phone_number, _reader(phone_number, codes))
        where.keep_node()
        where.say(f"Registered: your user id is {user_id}.", {"userId": str(user_id)})

    where.run(act)


def whoami(*, where: Where = HERE) -> None:
    """Print the user id by which others find you.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        where.say(str(client.user_id), {"userId": str(client.user_id), "node": where.node})

    where.run(act)


def _reader(phone_number: str, codes: Path | None) -> Callable[[], Awaitable[str]]:
    async def typed() -> str:
        # Not on standard output: that is for programs to read.
        print("The code that was sent: ", end="", file=sys.stderr, flush=True)
        line: str = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            raise Ended(Exit.FAILED, "No code was typed, so nothing was registered.")
        return line.strip()

    return typed if codes is None else partial(code_in, codes, phone_number)
