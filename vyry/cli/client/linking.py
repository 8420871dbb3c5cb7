"""`vyry client link` and `vyry client approve`: another device of the account, by a QR and six digits that the new device shows and a person types in."""

import sys
from typing import Final

import segno

from vyry.cli.client.confirmation import can_retry, confirm_account_replacement
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.pin import pin_reader, read_pin_file
from vyry.cli.client.terminal_text import MAX_NAME, indent_continuation, quote_name, sanitize_line
from vyry.cli.command_line import FilePath, Flag, FreeText
from vyry.cli.prompts import read_line
from vyry.cli.stdio import is_interactive
from vyry.client.api.client import Client
from vyry.client.api.linking import ScannedLink
from vyry.client.errors import Refused
from vyry.signal_protocol.refusals import Malformed


#: So often the digits may be typed.
MAX_ATTEMPTS: Final = 3


def link(*, name: FreeText = "vyry", yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Make this profile another device of an account: show its QR to a device that the account has, and type the six digits shown here there.

    Args:
        name: What the account's owner sees it called.
        yes: Put the account in the place of the one that this profile has, without asking.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await confirm_account_replacement(client, context, yes=yes)
        attempt = await client.links.begin(name)
        if not context.json:
            # Not on standard output: that is for programs to read.
            segno.make(attempt.uri, error="l").terminal(out=sys.stderr, compact=True)
        context.print_result(
            f"Scan this within two minutes, or type there: vyry client approve '{attempt.uri}'", {"uri": attempt.uri}
        )
        code = await attempt.code()
        context.print_result(f"Type these digits at the other device: {code}", {"code": code})
        user_id = await attempt.complete()
        context.save_node_url()
        context.print_result(f"Linked: your user id is {user_id}.", {"userId": str(user_id)})

    context.run(act, may_create=True)


def approve(uri: FreeText, /, *, pin_file: FilePath | None = None, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Let a new device into your account: type the six digits that it shows. What was said before does not go there.

    Args:
        uri: What the new device shows, vyry://link?...; - reads it from the first line of standard input.
        pin_file: The account's PIN, if it has one, on the first line of this file.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        shown = (await read_line("") or "") if uri == "-" else uri
        pin = None if pin_file is None else read_pin_file(pin_file)
        try:
            scanned = await client.links.scan(shown.strip())
        except Malformed:
            raise CommandFailed(
                Exit.WRONG_LINE, "This is no link of a new device: copy the whole of it, from vyry://link? to its end."
            ) from None
        if not await _confirm_digits(scanned):
            await scanned.reject()
            raise CommandFailed(Exit.REFUSED, "The device was not let in: its six digits were not typed.")
        await _approve_with_pin(scanned, pin)
        context.print_result(
            f"{quote_name(scanned.name)} is let in.", {"name": scanned.name, "code": scanned.code, "approved": True}
        )

    context.run(act)


async def _approve_with_pin(scanned: ScannedLink, pin: str | None) -> None:
    """Hand the account over; a person who gave no PIN where one is needed, or mistyped it, is asked for it. Raises Refused, Unreachable."""
    is_typed = pin is None
    while True:
        try:
            return await scanned.approve(pin)
        except Refused as refused:
            is_missing = pin is None and refused.code in ("PIN_REQUIRED", "INVALID_PIN")
            if not is_typed or not (is_interactive() if is_missing else can_retry(refused)):
                raise
        pin = await pin_reader(None)()


async def _confirm_digits(scanned: ScannedLink) -> bool:
    """Whether a person typed what the new device shows. The digits are not shown here: they would be copied without a look at the other screen."""
    network = sanitize_line(scanned.requested_from, MAX_NAME)
    asked = f"A device that calls itself {quote_name(scanned.name)} asks from {network} to be let into your account."
    print(indent_continuation(asked), file=sys.stderr)
    for _ in range(MAX_ATTEMPTS):
        typed = await read_line("Type the six digits that it shows: ")
        if typed is None:
            return False
        if scanned.matches(typed):
            return True
        print("These are other digits.", file=sys.stderr)
    return False
