"""`vyry client link` and `vyry client approve`: link a new device by a QR code and six digits that it shows and the user types at the other device."""

import sys
from typing import Final

from vyry.cli.client.confirmation import can_retry, confirm_account_replacement
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.execution import flush_outbox
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.files import progress_display
from vyry.cli.client.pin import pin_reader, read_pin_file
from vyry.cli.client.qr_code import print_qr_code
from vyry.cli.client.terminal_text import MAX_NAME, indent_continuation, quote_name, sanitize_line
from vyry.cli.command_line import FilePath, Flag, FreeText
from vyry.cli.errors import UsageError
from vyry.cli.prompts import read_line
from vyry.cli.stdio import is_interactive
from vyry.client.api.client import Client
from vyry.client.api.linking import HistoryRange, ScannedLink
from vyry.client.errors import Refused
from vyry.signal_protocol.refusals import Malformed


#: How often the digits may be typed.
MAX_ATTEMPTS: Final = 3
_MAX_DAYS: Final = 36_500


def link(*, name: FreeText = "vyry", yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Link this profile to your account as a new device.

    Scan the QR code with an existing device, then enter there the six digits shown here.

    Args:
        name: The name of this device in the device list.
        yes: Replace the account of this profile without asking.
    """

    async def act(client: Client) -> None:
        await confirm_account_replacement(client, context, yes=yes)
        attempt = await client.links.begin(name)
        if not context.json:
            print_qr_code(attempt.uri)
        context.print_result(
            f"Within two minutes, scan this code with your other device, or run there: vyry client approve '{attempt.uri}'",
            {"uri": attempt.uri},
        )
        code = await attempt.code()
        context.print_result(f"Enter these digits on your other device: {code}", {"code": code})
        user_id = await attempt.complete()
        context.save_node_url()
        context.print_result(f"Linked. Your user id is {user_id}.", {"userId": str(user_id)})
        await finish_history(client, context)

    context.run(act, may_create=True)


def approve(
    uri: FreeText,
    /,
    *,
    pin_file: FilePath | None = None,
    history: str = "none",
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Approve a new device for your account.

    Enter the six digits that it shows. It receives earlier messages only with --history. That continues after an interruption: `vyry client devices history`.

    Args:
        uri: The link that the new device shows (vyry://link?...); - reads it from standard input.
        history: Earlier messages that the new device receives: all, none, or those of this many days.
        pin_file: Read the PIN of the account, if one is set, from the first line of this file.
    """
    offered = _read_range(history)

    async def act(client: Client) -> None:
        shown = (await read_line("") or "") if uri == "-" else uri
        pin = None if pin_file is None else read_pin_file(pin_file)
        try:
            scanned = await client.links.scan(shown.strip())
        except Malformed:
            raise CommandFailed(
                Exit.WRONG_LINE, "Not a valid device link: copy all of it, from vyry://link? to the end."
            ) from None
        if not await _confirm_digits(scanned):
            await scanned.reject()
            raise CommandFailed(Exit.REFUSED, "The device was not approved: the six digits were not entered correctly.")
        await _approve_with_pin(scanned, pin, offered)
        context.print_result(
            f"Device {quote_name(scanned.name)} is approved.",
            {"name": scanned.name, "code": scanned.code, "approved": True},
        )
        if offered is not None:
            await finish_history(client, context)

    context.run(act)


async def finish_history(client: Client, context: CommandContext) -> None:
    """Send or import the history that is pending, and print the progress on standard error."""
    if not client.history.is_pending:
        return
    again = context.command_line("devices", "history")
    print("Transferring the history. To continue later: Ctrl-C, then", again, file=sys.stderr)
    with progress_display(context, "history") as progress:
        await client.history.wait(progress)
    await flush_outbox(client)
    context.print_result("The history is transferred.", {"historyTransferred": True})


def _read_range(text: str) -> HistoryRange:
    """The range that `--history` names. Raises UsageError."""
    if text in ("all", "none"):
        return "all" if text == "all" else None
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MAX_DAYS):
        raise UsageError(f"--history is all, none, or a number of days from 1 to {_MAX_DAYS:,}; not {text!r}.")
    return int(text)


async def _approve_with_pin(scanned: ScannedLink, pin: str | None, history: HistoryRange) -> None:
    """Approve the device. Asks for the PIN when it is required or was mistyped. Raises Refused, Unreachable."""
    is_typed = pin is None
    while True:
        try:
            return await scanned.approve(pin, history=history)
        except Refused as refused:
            is_missing = pin is None and refused.code in ("PIN_REQUIRED", "INVALID_PIN")
            if not is_typed or not (is_interactive() if is_missing else can_retry(refused)):
                raise
        pin = await pin_reader(None)()


async def _confirm_digits(scanned: ScannedLink) -> bool:
    """Whether the user typed the digits that the new device shows. They are not printed here: the user has to read them from the other screen."""
    network = sanitize_line(scanned.requested_from, MAX_NAME)
    request_text = f"A device named {quote_name(scanned.name)} at {network} asks to be linked to your account."
    print(indent_continuation(request_text), file=sys.stderr)
    for _ in range(MAX_ATTEMPTS):
        typed = await read_line("Enter the six digits that it shows: ")
        if typed is None:
            return False
        if scanned.matches(typed):
            return True
        print("The digits do not match. Try again.", file=sys.stderr)
    return False
