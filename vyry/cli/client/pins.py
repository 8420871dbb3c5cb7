"""`vyry client pin`: what a new device, or whoever gets the number, has to know besides. A PIN is typed or lies in a file: never on a command line."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from vyry.cli.asking import first_line, line
from vyry.cli.client.confirming import may_try_again
from vyry.cli.client.examples import examples
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.plain import word
from vyry.cli.client.where import HERE, Where
from vyry.cli.typed import FilePath
from vyry.client.client import Client
from vyry.client.refusals import Refused
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
    *, pin_file: FilePath | None = None, current_file: FilePath | None = None, lock: Flag = None, where: Where = HERE
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
        while True:
            try:
                standing = await client.account.set_pin(new, current, registration_lock=lock)
            except Refused as refused:
                if current_file is not None or not may_try_again(refused):
                    raise
                current = await pin_reader(None, "The present PIN: ")()
            else:
                return _tell(standing, where)

    where.run(act)


@app.command
def remove(*, pin_file: FilePath | None = None, where: Where = HERE) -> None:
    """Have no PIN any more.

    Args:
        pin_file: The PIN, on the first line of this file; without it you are asked.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        while True:
            try:
                return _tell(await client.account.remove_pin(await pin_reader(pin_file)()), where)
            except Refused as refused:
                if pin_file is not None or not may_try_again(refused):
                    raise

    where.run(act)


def pin_in(file: Path) -> str:
    """The PIN on the first line of this file. Raises CannotServe."""
    return first_line(file, "No PIN: it")


def pin_reader(file: Path | None, ask: str = "The account's PIN: ") -> Callable[[], Awaitable[str]]:
    """What reads the PIN when it is needed: from the file, or typed unseen."""

    async def read() -> str:
        if file is not None:
            return await asyncio.to_thread(pin_in, file)
        typed = await line(ask, is_hidden=True)
        if not typed:
            raise Ended(Exit.FAILED, "No PIN was typed, so nothing was changed.")
        return typed

    return read


def _tell(standing: Body, where: Where) -> None:
    lock = "; signing up asks for it" if standing["registrationLock"] else ""
    left = f"A PIN is set, {word(standing['attemptsRemaining'])} tries are left{lock}."
    where.say(left if standing["isSet"] else "No PIN is set.", standing)
