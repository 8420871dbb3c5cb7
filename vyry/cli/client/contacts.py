"""`vyry client contact` and `vyry client add`: the own contact link, and people who are added by theirs."""

import sys

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.execution import flush_outbox
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import Account, DisplayNames, account_word, resolve_account
from vyry.cli.client.qr_code import print_qr_code
from vyry.cli.client.safety_numbers import KeyState
from vyry.cli.command_line import FreeText
from vyry.client.api.client import Client
from vyry.client.api.contacts import read_contact_link
from vyry.signal_protocol.contact_links import is_link


def contact(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Print your contact link and its QR code.

    A user who adds it writes to you with a verified safety number. The link contains no secret, but its reader must know that it is from you:
    give it in person, or over a channel that you both trust.
    """

    async def act(client: Client) -> None:
        link = client.contacts.link()
        if not context.json and sys.stdout.isatty():
            print_qr_code(str(link))
        context.print_result(
            str(link), {"link": str(link), "userId": str(link.user_id), "keyHash": link.key_hash.hex()}
        )

    context.run(act)


def add(who: Account, /, *, name: FreeText | None = None, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Add a user by their contact link, or give a user a name.

    With a contact link the safety number counts as verified if the key of the link is the one that the node reports. If not, nothing is added and the exit code is 11.

    Args:
        name: What you call this user from now on, in every command and list; "" removes the name.
    """
    if not is_link(who) and name is None:
        raise CommandFailed(
            Exit.WRONG_LINE,
            "Nothing to add: give a contact link, or a name for the user (--name NAME). `vyry client friends add` sends a friend request.",
        )

    async def act(client: Client) -> None:
        if is_link(who):
            if read_contact_link(who).user_id == client.user_id:
                raise CommandFailed(Exit.WRONG_LINE, "This is your own contact link: give it to others.")
            user_id = await client.contacts.add(who, name)
            # The decision goes to the other devices of the account.
            await flush_outbox(client)
        else:
            user_id = await resolve_account(client, who)
            client.contacts.rename(user_id, name or "")
        is_verified = client.safety.is_verified(user_id)
        shown = await DisplayNames(client).load(user_id)
        state = KeyState.VERIFIED if is_verified else KeyState.UNVERIFIED
        step = context.command_line("send", account_word(client, user_id), "TEXT")
        body = {"userId": str(user_id), "name": client.people.names.given(user_id), "isVerified": is_verified}
        context.print_result(f"Added {shown} (safety number {state}). To write, run: {step}", body)

    context.run(act)
