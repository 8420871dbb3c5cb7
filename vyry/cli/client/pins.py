"""`vyry client pin`: what a new device, or whoever gets the number, has to know besides. A PIN is typed or lies in a file: never on a command line."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from getpass import getpass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from vyry.cli.client.examples import examples
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.where import HERE, Where
from vyry.client.client import Client
from vyry.client.rest import Body


Flag = Annotated[bool | None, Parameter(negative="--no-lock")]

app = App(
    name="pin",
    help="The PIN of your account.",
    help_epilogue=examples(
        "pin set", "pin set --lock", "pin set --pin-file new.txt --current-file old.txt", "pin remove"
    ),
)


@app.command
def show(*, where: Where = HERE) -> None:
    """Print whether there is one, and how many wrong tries are left.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        _tell(await client.account.pin(), where)

    where.run(act)


@app.command(name="set")
def set_pin(
    *, pin_file: Path | None = None, current_file: Path | None = None, lock: Flag = None, where: Where = HERE
) -> None:
    """Set a PIN, or another one: 6 to 128 characters.

    Args:
        pin_file: The new one, on the first line of this file; without it you are asked.
        current_file: The present one, if there is one, in the same way.
        lock: Who signs up anew with your number has to know the PIN.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        is_set = (await client.account.pin())["isSet"]
        current = await pin_reader(current_file, "The present PIN: ")() if is_set else None
        new = await pin_reader(pin_file, "The new PIN: ")()
        _tell(await client.account.set_pin(new, current, registration_lock=lock), where)

    where.run(act)


@app.command
def remove(*, pin_file: Path | None = None, where: Where = HERE) -> None:
    """Have no PIN any more.

    Args:
        pin_file: The PIN, on the first line of this file; without it you are asked.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        _tell(await client.account.remove_pin(await pin_reader(pin_file)()), where)

    where.run(act)


def pin_in(file: Path) -> str:
    """The PIN on the first line of this file. Raises Ended."""
    try:
        return file.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        raise Ended(Exit.FAILED, f"No PIN can be read from {file}.") from None


def pin_reader(file: Path | None, ask: str = "The account's PIN: ") -> Callable[[], Awaitable[str]]:
    """What reads the PIN when it is needed: from the file, or typed unseen."""

    async def read() -> str:
        if file is not None:
            return await asyncio.to_thread(pin_in, file)
        if sys.stdin.isatty():
            return await asyncio.to_thread(getpass, ask)
        print(ask, end="", file=sys.stderr, flush=True)
        line: str = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            raise Ended(Exit.FAILED, "No PIN was typed, so nothing was changed.")
        return line.rstrip("\n")

    return read


def _tell(standing: Body, where: Where) -> None:
    lock = "; signing up asks for it" if standing["registrationLock"] else ""
    left = f"A PIN is set, {standing['attemptsRemaining']} tries are left{lock}."
    where.say(left if standing["isSet"] else "No PIN is set.", standing)
