"""`vyry client pin`: the PIN that a new device, or a new registration of the number, requires. It is typed or read from a file, never given on the command line."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from vyry.cli.client.app import format_examples
from vyry.cli.client.confirmation import can_retry, recovery_code_reader
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
    help_epilogue=format_examples(
        "pin set", "pin set --lock", "pin set --pin-file new.txt --current-file old.txt", "pin remove", "pin reset"
    ),
)


@app.command(name="show")
def show_status(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Show whether a PIN is set and how many attempts are left."""

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
    """Set or change the PIN (6 to 128 characters).

    Args:
        pin_file: Read the new PIN from the first line of this file instead of asking.
        current_file: Read the current PIN, if one is set, from the first line of this file instead of asking.
        lock: Registration lock: require the PIN to register your phone number again.
    """

    async def act(client: Client) -> None:
        is_set = (await client.account.pin())["isSet"]
        current = await pin_reader(current_file, "Current PIN: ")() if is_set else None
        new = await pin_reader(pin_file, "New PIN: ")()
        while True:
            try:
                status = await client.account.set_pin(new, current, registration_lock=lock)
            except Refused as refused:
                if current_file is not None or not can_retry(refused):
                    raise
                current = await pin_reader(None, "Current PIN: ")()
            else:
                return _print_status(status, context)

    context.run(act)


@app.command
def remove(*, pin_file: FilePath | None = None, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Remove the PIN.

    Args:
        pin_file: Read the PIN from the first line of this file instead of asking.
    """

    async def act(client: Client) -> None:
        while True:
            try:
                return _print_status(await client.account.remove_pin(await pin_reader(pin_file)()), context)
            except Refused as refused:
                if pin_file is not None or not can_retry(refused):
                    raise

    context.run(act)


@app.command
def reset(
    *, code_file: FilePath | None = None, pin_file: FilePath | None = None, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Set a new PIN by the recovery code of the account, in place of a forgotten or locked one. The code stays valid.

    Args:
        code_file: Read the recovery code from the first line of this file instead of asking.
        pin_file: Read the new PIN from the first line of this file instead of asking.
    """

    async def act(client: Client) -> None:
        code = await recovery_code_reader(code_file)()
        new = await pin_reader(pin_file, "New PIN: ")()
        while True:
            try:
                return _print_status(await client.joining.reset_pin(new, code), context)
            except Refused as refused:
                if code_file is not None or not can_retry(refused):
                    raise
            code = await recovery_code_reader(None)()

    context.run(act)


def read_pin_file(file: Path) -> str:
    """The PIN on the first line of this file. Raises CommandError."""
    return read_first_line(file, "the PIN")


def pin_reader(file: Path | None, ask: str = "Account PIN: ") -> Callable[[], Awaitable[str]]:
    """A function that reads the PIN when it is needed: from the file, or typed without echo."""

    async def read() -> str:
        if file is not None:
            return await asyncio.to_thread(read_pin_file, file)
        typed = await read_line(ask, is_hidden=True)
        if not typed:
            raise CommandFailed(Exit.FAILED, "No PIN entered; nothing was changed.")
        return typed

    return read


def _print_status(status: Body, context: CommandContext) -> None:
    lock = "; registration lock is on" if status["registrationLock"] else ""
    left = f"A PIN is set; {sanitize_line(status['attemptsRemaining'])} attempts left{lock}."
    context.print_result(left if status["isSet"] else "No PIN is set.", status)
