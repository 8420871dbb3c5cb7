"""Commands about the account of a profile: sign up, who one is, what one shows, what the node knows."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from cyclopts import Parameter

from vyry.cli.client.confirmation import can_retry, confirm, confirm_account_replacement
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit, to_command_failure
from vyry.cli.client.names import profile_name, resolve_account
from vyry.cli.client.pin import pin_reader
from vyry.cli.client.terminal_text import quote_name
from vyry.cli.command_line import FilePath, Flag, FreeText
from vyry.cli.otp_file import read_latest_code
from vyry.cli.prompts import read_line
from vyry.client.api.client import Client
from vyry.client.api.sign_up import Proofs
from vyry.client.errors import Refused
from vyry.client.store.remembered_names import read_number


def register(
    phone_number: str,
    /,
    *,
    codes: FilePath | None = None,
    pin_file: FilePath | None = None,
    yes: Flag = False,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Sign up with a telephone number; the code that it is sent is asked for. All other devices of the account end.

    Args:
        phone_number: With its country code, such as "+49 151 2345678"; blanks, hyphens, brackets and 00 for + are understood.
        codes: Read the code from this file, which the node writes (its VYRY_SMS is file:PATH), instead of asking.
        pin_file: If the number is locked by a PIN, it is on the first line of this file; without it you are asked.
        yes: Put the new account in the place of the one that this profile has, without asking.
        context: Which device, and its node.
    """
    is_typed = {"INVALID_OTP": codes is None, "INVALID_PIN": pin_file is None}

    wrong: list[Refused] = []

    def should_retry(refused: Refused) -> bool:
        wrong.append(refused)
        # Behind a wrong code in a pipe the right one may come.
        is_code = refused.code == "INVALID_OTP"
        return is_typed.get(refused.code, False) and can_retry(refused, is_piped_too=is_code)

    async def act(client: Client) -> None:
        number = read_number(phone_number)
        await confirm_account_replacement(client, context, yes=yes)
        user_id = await client.register(
            number, Proofs(_code_reader(number, codes, wrong), pin_reader(pin_file), should_retry)
        )
        context.save_node_url()
        context.print_result(f"Registered: your user id is {user_id}.", {"userId": str(user_id)})

    context.run(act, may_create=True)


#: Of a name, in characters.
_MAX_NAME: Final = 100


@Parameter(name="*")
@dataclass(frozen=True)
class ProfileChanges:
    """What to show from now on.

    Attributes:
        username: By which others find you: 3 to 30 of a-z 0-9 _ and dot.
        name: What is shown to friends; the node can read it.
        bio: A few words about you; the node can read them.
        sealed_name: A name that only those can read whom you write to; "" takes it away.
        about: A few words that only they can read; "" takes them away.
    """

    username: FreeText | None = None
    name: FreeText | None = None
    bio: FreeText | None = None
    sealed_name: FreeText | None = None
    about: FreeText | None = None


NO_CHANGES: Final = ProfileChanges()


def profile(
    who: str | None = None, /, *, changes: ProfileChanges = NO_CHANGES, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Show what others see of you, and change it; or what somebody else shows.

    Args:
        who: Somebody else: a user id, a @username or a number.
        changes: What to change.
        context: Which device, and its node.
    """
    username = changes.username.strip().removeprefix("@") if changes.username else None
    clear = (("username", username), ("displayName", changes.name), ("bio", changes.bio))
    fields = {key: value for key, value in clear if value}

    async def act(client: Client) -> None:
        if who is not None:
            told = await client.people.profile(await resolve_account(client, who))
            name = profile_name(client, told)
            _print_profile(context, told, name if name.startswith("another ") else told["username"])
            return
        told = await client.account.update(**fields) if fields else await client.account.get()
        if changes.sealed_name is not None or changes.about is not None:
            told = await client.account.show(name=changes.sealed_name, about=changes.about)
        _print_profile(context, told, told["username"])

    context.run(act)


def _print_profile(context: CommandContext, told: dict[str, Any], username: str | None) -> None:
    lines: dict[str, str | None] = {
        key: told[key] for key in ("userId", "username", "displayName", "bio", "phoneNumber") if key in told
    }
    lines |= {"username": username, "sealedName": told["profile"]["name"], "about": told["profile"]["about"]}
    context.print_result([f"{key:12} {_field_text(key, said)}" for key, said in lines.items()], told)


def _field_text(key: str, said: str | None) -> str:
    """A name that somebody chose is in quotes: it is no username. What goes on in another line stands below the first."""
    if not said:
        return "-"
    return (
        quote_name(said, _MAX_NAME) if key in ("displayName", "sealedName") else str(said).replace("\n", f"\n{'':11}")
    )


def export(file: FilePath, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Write everything that the node knows of the account into a file that only you can read.

    Args:
        file: The archive: one JSON object (docs/protocol.md, "The archive"). It must not be there yet.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        archive = await client.account.export()
        await asyncio.to_thread(_write_archive, file, archive)
        context.print_result(f"Written to {file}.", {"file": str(file)})

    context.run(act)


def logout(*, yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """End this device: its tokens, keys and mailbox at the node are gone. What was said stays in the profile.

    Args:
        yes: Do it without asking.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        me = client.user_id
        await confirm(f"This ends this device of {me}, and mail that waits for it is lost.", yes=yes)
        await client.account.logout()
        context.print_result("This device has ended.", {"ended": True})

    context.run(act)


def _write_archive(file: Path, archive: dict[str, Any]) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(orjson.dumps(archive, option=orjson.OPT_INDENT_2))
    except OSError as failed:
        raise CommandFailed(Exit.FAILED, f"{file} cannot be written ({failed.strerror}).") from None


def _code_reader(phone_number: str, codes: Path | None, wrong: Sequence[Refused]) -> Callable[[], Awaitable[str]]:
    async def typed() -> str:
        found = await read_line("The code that was sent: ")
        if wrong and not found:
            raise to_command_failure(wrong[-1])
        if not found or not found.strip():
            raise CommandFailed(Exit.FAILED, "No code was typed, so nothing was registered.")
        return found.strip()

    return typed if codes is None else partial(read_latest_code, codes, phone_number)
