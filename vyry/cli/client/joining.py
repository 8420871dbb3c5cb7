"""`vyry client join`, `recover`, `recovery-code` and `delete`: an account without a phone number, from its invitation to its end."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final
from uuid import UUID

from vyry.cli.client.confirmation import can_retry, confirm, confirm_account_replacement, recovery_code_reader
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import FAILURES, CommandFailed, Exit, to_command_failure
from vyry.cli.client.names import DisplayNames, account_word
from vyry.cli.client.pin import pin_reader
from vyry.cli.client.terminal_text import indent_continuation
from vyry.cli.command_line import FilePath, Flag, FreeText
from vyry.client.api.client import Client
from vyry.client.api.joining import InvitationLink
from vyry.client.api.sign_up import Proofs
from vyry.client.errors import BadName, NotAnInvitation, Refused, TextTooLong
from vyry.client.store.remembered_names import is_id


_CODE_TEXT: Final = (
    "Recovery code: {code}\n"
    "Write it down and keep it in a safe place: it is shown this once. With it, and your username or user id, `vyry client recover` gives you the account on a new device. "
    "Without it the account is lost with your last device."
)


def join(
    invitation: FreeText,
    /,
    *,
    name: FreeText | None = None,
    username: FreeText | None = None,
    yes: Flag = False,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Join a node by an invitation, without a phone number.

    Prints a recovery code, once. If the answer of the node is lost, run the same command again: within 10 minutes it gives the same account.

    Args:
        invitation: The link (https://HOST/#invite=TOKEN), or its token with --url; - reads it from standard input.
        name: Your name, encrypted: only people you write to can read it.
        username: Username by which others find you: 3 to 30 characters of a-z, 0-9, _ and dot.
        yes: Replace the account of this profile without asking.
    """
    codes: list[str] = []

    async def act(client: Client) -> None:
        await confirm_account_replacement(client, context, yes=yes)
        with _code_in_failures(context, codes):
            user_id = await client.joining.join(
                link_text, _code_printer(context, codes), username=username and username.removeprefix("@")
            )
            context.save_node_url()
            if name:
                await client.account.show(name=name)
            lines, inviter = await _inviter_lines(client, context, InvitationLink.read(link_text))
        context.print_result(
            [f"Joined. Your user id is {user_id}.", *lines],
            {"userId": str(user_id), "recoveryCode": codes[0], **inviter},
        )

    link_text, url = _read_invitation(invitation)
    context = replace(context, url=context.url or url)
    context.run(act, may_create=True)


def _read_invitation(word: str) -> tuple[str, str | None]:
    """The text of the invitation, and the URL of its node where it is a link."""
    text = (sys.stdin.readline() if word == "-" else word).strip()
    try:
        return text, InvitationLink.read(text).url
    except NotAnInvitation as problem:
        raise CommandFailed(Exit.WRONG_LINE, str(problem)) from None


async def _inviter_lines(
    client: Client, context: CommandContext, invitation: InvitationLink
) -> tuple[list[str], dict[str, str]]:
    """The member who made the invitation, as text and as JSON; both are empty for an invitation of the operator."""
    inviter = await _add_inviter(client, invitation)
    if inviter is None:
        return [], {}
    step = context.command_line("send", account_word(client, inviter), "TEXT")
    shown = await DisplayNames(client).load(inviter)
    return [f"{shown} invited you (safety number verified). To write, run: {step}"], {"inviterId": str(inviter)}


async def _add_inviter(client: Client, invitation: InvitationLink) -> UUID | None:
    """The member who made the invitation, as a verified contact. Raises ContactDiffers: the account exists, and the warning is shown."""
    if invitation.contact is None or invitation.contact.user_id == client.user_id:
        return None
    try:
        return await client.contacts.add(str(invitation.contact), invitation.name or None)
    except (BadName, TextTooLong):
        # The name is only a proposal of the inviter.
        return await client.contacts.add(str(invitation.contact))


def recover(
    who: str,
    /,
    *,
    code_file: FilePath | None = None,
    pin_file: FilePath | None = None,
    yes: Flag = False,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Take over your account on this device by its recovery code. All its other devices are removed.

    The code is used up; the next one is printed, once. Your contacts see a new key and compare the safety number again.

    Args:
        who: The account: @username or user id.
        code_file: Read the recovery code from the first line of this file instead of asking.
        pin_file: Read the PIN of a locked account from the first line of this file instead of asking.
        yes: Replace the account of this profile without asking.
    """
    codes: list[str] = []
    is_typed = {"INVALID_RECOVERY_CODE": code_file is None, "INVALID_PIN": pin_file is None}

    async def act(client: Client) -> None:
        await confirm_account_replacement(client, context, yes=yes)
        proofs = Proofs(
            recovery_code_reader(code_file),
            pin_reader(pin_file),
            lambda refused: is_typed.get(refused.code, False) and can_retry(refused),
        )
        account = UUID(who) if is_id(who) else who
        with _code_in_failures(context, codes):
            user_id = await client.joining.recover(account, proofs, _code_printer(context, codes))
        context.save_node_url()
        text = f"Recovered. Your user id is {user_id}. All other devices of the account were removed."
        context.print_result(text, {"userId": str(user_id), "recoveryCode": codes[0]})

    context.run(act, may_create=True)


def recovery_code(*, pin_file: FilePath | None = None, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Make a new recovery code for your account. Any earlier code is void.

    Args:
        pin_file: Read the PIN of the account, if one is set, from the first line of this file instead of asking.
    """

    async def act(client: Client) -> None:
        pin = await _read_pin_if_set(client, pin_file)
        code = await _retry_pin(client.joining.renew_recovery_code, pin, pin_file)
        context.print_result(_CODE_TEXT.format(code=code), {"recoveryCode": code})

    context.run(act)


def delete(
    *,
    code_file: FilePath | None = None,
    pin_file: FilePath | None = None,
    yes: Flag = False,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Delete your account and everything that the node stores about it.

    Needs the recovery code, or for an account without a phone number the PIN, if one is set. `recovery-code` makes a code. The message history stays in the profile.

    Args:
        code_file: Read the recovery code from the first line of this file instead of asking.
        pin_file: Read the PIN of the account, if one is set, from the first line of this file instead of asking.
        yes: Skip the confirmation prompt.
    """

    async def act(client: Client) -> None:
        me = client.user_id
        await confirm(
            f"This deletes the account {me} with all its devices, contacts and undelivered messages, for ever.", yes=yes
        )
        pin = await _read_pin_if_set(client, pin_file)
        has_number = (await client.account.get())["phoneNumber"] is not None
        is_code_needed = pin is None or has_number or code_file is not None
        code = await recovery_code_reader(code_file)() if is_code_needed else None
        await _retry_pin(lambda given: client.joining.delete_account(recovery_code=code, pin=given), pin, pin_file)
        context.print_result("The account is deleted.", {"userId": str(me), "deleted": True})

    context.run(act)


async def _read_pin_if_set(client: Client, file: FilePath | None) -> str | None:
    return await pin_reader(file)() if (await client.account.pin())["isSet"] else None


async def _retry_pin(
    act: Callable[[str | None], Awaitable[str | None]], pin: str | None, file: FilePath | None
) -> str | None:
    """Do it with this PIN; a mistyped one is asked for again while attempts are left."""
    while True:
        try:
            return await act(pin)
        except Refused as refused:
            if refused.code != "INVALID_PIN" or file is not None or not can_retry(refused):
                raise
        pin = await pin_reader(None)()


def _code_printer(context: CommandContext, codes: list[str]) -> Callable[[str], None]:
    """Prints the code as soon as the account exists: whatever fails afterwards, it has been shown."""

    def show(code: str) -> None:
        codes.append(code)
        if not context.json:
            print(indent_continuation(_CODE_TEXT.format(code=code)), flush=True)

    return show


@contextmanager
def _code_in_failures(context: CommandContext, codes: Sequence[str]) -> Iterator[None]:
    """What fails after the account exists has the code in its JSON: without --json it was printed already."""
    try:
        yield
    except (*FAILURES, CommandFailed) as problem:
        if not codes:
            raise
        end = to_command_failure(problem)
        raise CommandFailed(Exit(end.code), str(end), {**end.details, "recoveryCode": codes[0]}) from None
    except BaseException:
        if codes and context.json:
            context.print_result("", {"recoveryCode": codes[0]})
        raise
