"""`vyry client pin`: what a new device, or whoever gets the number, has to know besides. A PIN is typed or lies in a file: never on a command line."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from vyry.cli.client.app import format_examples
from vyry.cli.client.confirmation import can_retry
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import sanitize_line
from vyry.cli.command_line import FilePath
from vyry.cli.prompts import read_first_line, read_line
from vyry.client.api.client import Client
from vyry.client.errors import Refused
from vyry.client.transport.rest import Body


LockFlag = Annotated[bool | None, Parameter(negative="--no-lock")]

app = App(
    name="pin",
    help="The PIN of your account.",
    help_epilogue=format_examples(
        "pin set", "pin set --lock", "pin set --pin-file new.txt --current-file old.txt", "pin remove"
    ),
)


@app.command
def show_status(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Print whether there is one, and how many wrong tries are left.

    Args:
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        _print_status(await client.account.pin(), context)

    context.run(act)


@app.command(name="set")
def set_pin(
    *,
    pin_file: FilePath | None = None,
    current_file: FilePath | None = None,
    lock: LockFlag = None,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Set a PIN, or another one: 6 to 128 characters.

    Args:
        pin_file: The new one, on the first line of this file; without it you are asked.
        current_file: The present one, if there is one, in the same way.
        lock: Who signs up anew with your number has to know the PIN.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        is_set = (await client.account.pin())["isSet"]
        current = await pin_reader(current_file, "The present PIN: ")() if is_set else None
        new = await pin_reader(pin_file, "The new PIN: ")()
        while True:
            try:
                standing = await client.account.set_pin(new, current, registration_lock=lock)
            except Refused as refused:
                if current_file is not None or not can_retry(refused):
                    raise
                current = await pin_reader(None, "The present PIN: ")()
            else:
                return _print_status(standing, context)

    context.run(act)


@app.command
def remove(*, pin_file: FilePath | None = None, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Have no PIN any more.

    Args:
        pin_file: The PIN, on the first line of this file; without it you are asked.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        while True:
            try:
                return _print_status(await client.account.remove_pin(await pin_reader(pin_file)()), context)
            except Refused as refused:
                if pin_file is not None or not can_retry(refused):
                    raise

    context.run(act)


def read_pin_file(file: Path) -> str:
    """The PIN on the first line of this file. Raises CannotServe."""
    return read_first_line(file, "No PIN: it")


def pin_reader(file: Path | None, ask: str = "The account's PIN: ") -> Callable[[], Awaitable[str]]:
    """What reads the PIN when it is needed: from the file, or typed unseen."""

    async def read() -> str:
        if file is not None:
            return await asyncio.to_thread(read_pin_file, file)
        typed = await read_line(ask, is_hidden=True)
        if not typed:
            raise CommandFailed(Exit.FAILED, "No PIN was typed, so nothing was changed.")
        return typed

    return read


def _print_status(standing: Body, context: CommandContext) -> None:
    lock = "; signing up asks for it" if standing["registrationLock"] else ""
    left = f"A PIN is set, {sanitize_line(standing['attemptsRemaining'])} tries are left{lock}."
    context.print_result(left if standing["isSet"] else "No PIN is set.", standing)
