"""Commands about the account of a profile: register, show and change its profile, export its data, log out."""

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
    """Register a phone number. All other devices of its account are removed.

    Enter the code that is sent to the number.

    Args:
        phone_number: With country code, such as "+49 151 2345678"; spaces, hyphens, brackets and 00 instead of + are allowed.
        codes: Read the code from this file instead of asking (the file of the node's VYRY_SMS=file:PATH).
        pin_file: Read the PIN of a locked number from the first line of this file instead of asking.
        yes: Replace the account of this profile without asking.
    """
    is_typed = {"INVALID_OTP": codes is None, "INVALID_PIN": pin_file is None}

    wrong: list[Refused] = []

    def should_retry(refused: Refused) -> bool:
        wrong.append(refused)
        # In a pipe the right code may follow the wrong one.
        is_code = refused.code == "INVALID_OTP"
        return is_typed.get(refused.code, False) and can_retry(refused, is_piped_too=is_code)

    async def act(client: Client) -> None:
        number = read_number(phone_number)
        await confirm_account_replacement(client, context, yes=yes)
        user_id = await client.register(
            number, Proofs(_code_reader(number, codes, wrong), pin_reader(pin_file), should_retry)
        )
        context.save_node_url()
        context.print_result(f"Registered. Your user id is {user_id}.", {"userId": str(user_id)})

    context.run(act, may_create=True)


#: Characters of a name that are shown.
_MAX_NAME: Final = 100


@Parameter(name="*")
@dataclass(frozen=True)
class ProfileChanges:
    """Changes of the own profile.

    Attributes:
        username: Username by which others find you: 3 to 30 characters of a-z, 0-9, _ and dot.
        name: Display name for friends; the node can read it.
        bio: Short text about you; the node can read it.
        sealed_name: Encrypted name, readable only by people you write to; "" removes it.
        about: Encrypted text about you, readable only by people you write to; "" removes it.
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
    """Show or change your profile, or show the profile of another user.

    Args:
        who: Another user: user id, @username or phone number.
        changes: What to change.
    """
    username = changes.username.strip().removeprefix("@") if changes.username else None
    clear = (("username", username), ("displayName", changes.name), ("bio", changes.bio))
    fields = {key: value for key, value in clear if value}

    async def act(client: Client) -> None:
        if who is not None:
            found = await client.people.profile(await resolve_account(client, who))
            name = profile_name(client, found)
            _print_profile(context, found, name if name.startswith("another ") else found["username"])
            return
        own = await client.account.update(**fields) if fields else await client.account.get()
        if changes.sealed_name is not None or changes.about is not None:
            own = await client.account.show(name=changes.sealed_name, about=changes.about)
        _print_profile(context, own, own["username"])

    context.run(act)


def _print_profile(context: CommandContext, account: dict[str, Any], username: str | None) -> None:
    lines: dict[str, str | None] = {
        key: account[key] for key in ("userId", "username", "displayName", "bio", "phoneNumber") if key in account
    }
    lines |= {"username": username, "sealedName": account["profile"]["name"], "about": account["profile"]["about"]}
    context.print_result([f"{key:12} {_field_text(key, value)}" for key, value in lines.items()], account)


def _field_text(key: str, value: str | None) -> str:
    """Names chosen by a user are quoted: they are no usernames. Further lines of a text are indented."""
    if not value:
        return "-"
    return (
        quote_name(value, _MAX_NAME) if key in ("displayName", "sealedName") else str(value).replace("\n", f"\n{'':11}")
    )


def export(file: FilePath, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Export all data that the node stores about your account to a file.

    Only you can read the file (mode 0600).

    Args:
        file: The archive: one JSON object (docs/protocol.md, "The archive"). The file must not exist yet.
    """

    async def act(client: Client) -> None:
        archive = await client.account.export()
        await asyncio.to_thread(_write_archive, file, archive)
        context.print_result(f"Written to {file}.", {"file": str(file)})

    context.run(act)


def logout(*, yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Log out this device.

    The node deletes its tokens, keys and mailbox. The message history stays in the profile.

    Args:
        yes: Skip the confirmation prompt.
    """

    async def act(client: Client) -> None:
        me = client.user_id
        await confirm(f"This logs out this device of {me}. Messages that it has not received are lost.", yes=yes)
        await client.account.logout()
        context.print_result("This device is logged out.", {"ended": True})

    context.run(act)


def _write_archive(file: Path, archive: dict[str, Any]) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(orjson.dumps(archive, option=orjson.OPT_INDENT_2))
    except OSError as failed:
        raise CommandFailed(Exit.FAILED, f"Cannot write {file} ({failed.strerror}).") from None


def _code_reader(phone_number: str, codes: Path | None, wrong: Sequence[Refused]) -> Callable[[], Awaitable[str]]:
    async def typed() -> str:
        found = await read_line("The code that was sent: ")
        if wrong and not found:
            raise to_command_failure(wrong[-1])
        if not found or not found.strip():
            raise CommandFailed(Exit.FAILED, "No code entered; nothing was registered.")
        return found.strip()

    return typed if codes is None else partial(read_latest_code, codes, phone_number)
