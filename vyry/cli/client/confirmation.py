"""Confirmation of what cannot be undone, and another attempt after a mistyped code or PIN."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from vyry.cli.client.context import CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import indent_continuation
from vyry.cli.command_line import FilePath
from vyry.cli.prompts import ask_yes, read_first_line, read_line
from vyry.cli.stdio import is_interactive
from vyry.client.api.client import Client
from vyry.client.api.sign_up import canonical_recovery_code
from vyry.client.errors import MistypedRecoveryCode, NotRegistered, Refused


_WRONG_TEXTS: Final = {
    "INVALID_OTP": "The code is wrong",
    "INVALID_PIN": "The PIN is wrong",
    "INVALID_RECOVERY_CODE": "The recovery code or the name is wrong",
}


async def confirm(consequence: str, *, yes: bool) -> None:
    """Return when the user confirms, by --yes or by typing yes. Raises CommandFailed otherwise, and without a terminal."""
    if yes:
        return
    if not is_interactive():
        raise CommandFailed(
            Exit.DECIDE, f"{consequence} Nothing was done. Run again with --yes to confirm.", {"decide": "notConfirmed"}
        )
    if not await ask_yes(consequence):
        raise CommandFailed(Exit.DECIDE, "Nothing was done.", {"decide": "notConfirmed"})


async def confirm_account_replacement(client: Client, context: CommandContext, *, yes: bool) -> None:
    """Ask before the account of this profile is replaced, if it has one. Raises CommandFailed."""
    try:
        held = client.user_id
    except NotRegistered:
        return
    await confirm(
        f"{context.folder} already has the account {held}. The new account replaces it here and cannot read its messages; your contacts are not notified. "
        "To keep both accounts, use another --profile.",
        yes=yes,
    )


def can_retry(refused: Refused, *, is_piped_too: bool = False) -> bool:
    """Whether a wrong code or PIN can be entered again; prints how many attempts are left."""
    left = refused.body.get("attempts_remaining")
    is_wrong = refused.code in _WRONG_TEXTS and isinstance(left, int) and left > 0
    if not is_wrong or not (is_piped_too or is_interactive()):
        return False
    print(indent_continuation(f"{_WRONG_TEXTS[refused.code]}; attempts left: {left}."), file=sys.stderr, flush=True)
    return True


def recovery_code_reader(file: FilePath | None) -> Callable[[], Awaitable[str]]:
    """A function that reads the recovery code when it is needed: from the file, or typed."""

    async def read() -> str:
        if file is not None:
            return await asyncio.to_thread(read_first_line, file, "the recovery code")
        while True:
            typed = await read_line("Recovery code: ")
            if not typed:
                raise CommandFailed(Exit.FAILED, "No recovery code entered; nothing was changed.")
            try:
                return canonical_recovery_code(typed)
            except MistypedRecoveryCode as problem:
                # The check in the code finds the mistake: no attempt is used up.
                if not is_interactive():
                    raise
                print(indent_continuation(str(problem)), file=sys.stderr, flush=True)

    return read
