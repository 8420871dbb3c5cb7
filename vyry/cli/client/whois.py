"""`vyry client whois`: the account that a name refers to in this profile."""

from uuid import UUID

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import Account, is_user_id, resolve_account
from vyry.cli.command_line import Flag
from vyry.client.api.client import Client


def whois(
    who: Account, /, *, refresh: Flag = False, take: UUID | None = None, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Show which account a name refers to in this profile.

    All names of that account in this profile are printed too. The node's answer is stored the first time.

    Args:
        refresh: Ask the node again. If it reports another account, nothing changes and the exit code is 11.
        take: Assign the name to this user id. Check with the person over another channel first.
    """

    async def act(client: Client) -> None:
        if take is not None:
            if is_user_id(who):
                raise CommandFailed(Exit.WRONG_LINE, "--take needs a @username or phone number, not a user id.")
            client.people.remember(who, take)
        user_id = await resolve_account(client, who, refresh=refresh)
        names = client.people.names.of(user_id)
        context.print_result("  ".join([str(user_id), *names]), {"userId": str(user_id), "names": names})

    context.run(act)
