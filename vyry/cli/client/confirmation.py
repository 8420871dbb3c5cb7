"""What cannot be undone is asked about, or said with --yes; and what was mistyped is asked for again."""

import sys
from typing import Final

from vyry.cli.client.context import CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import indent_continuation
from vyry.cli.prompts import ask_yes
from vyry.cli.stdio import is_interactive
from vyry.client.api.client import Client
from vyry.client.errors import NotRegistered, Refused


_WRONG_TEXTS: Final = {"INVALID_OTP": "That code is wrong", "INVALID_PIN": "That PIN is wrong"}


async def confirm(consequence: str, *, yes: bool) -> None:
    """Come back when this is really to be done. Raises Ended: a person did not type yes, or there is none to ask."""
    if yes:
        return
    if not is_interactive():
        raise CommandFailed(Exit.DECIDE, f"{consequence} Nothing was done: --yes does it.", {"decide": "notConfirmed"})
    if not await ask_yes(consequence):
        raise CommandFailed(Exit.DECIDE, "Nothing was done.", {"decide": "notConfirmed"})


async def confirm_account_replacement(client: Client, context: CommandContext, *, yes: bool) -> None:
    """The same for a new account in a profile that may have one. Raises Ended."""
    try:
        held = client.user_id
    except NotRegistered:
        return
    await confirm(
        f"{context.folder} has the account {held}: another one in its place cannot read what is sent to that, and nobody is told. "
        "A second account belongs into another --profile.",
        yes=yes,
    )


def can_retry(refused: Refused, *, is_piped_too: bool = False) -> bool:
    """Whether a code or PIN that was mistyped, by a person or perhaps through a pipe, can be typed again: there are tries left, and this is said."""
    left = refused.body.get("attempts_remaining")
    is_wrong = refused.code in _WRONG_TEXTS and isinstance(left, int) and left > 0
    if not is_wrong or not (is_piped_too or is_interactive()):
        return False
    print(indent_continuation(f"{_WRONG_TEXTS[refused.code]}; tries left: {left}."), file=sys.stderr, flush=True)
    return True
