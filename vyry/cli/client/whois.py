"""`vyry client whois`: which account a name means in this profile."""

from uuid import UUID

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import is_user_id, resolve_account
from vyry.cli.command_line import Flag
from vyry.client.api.client import Client


def whois(
    who: str, /, *, refresh: Flag = False, take: UUID | None = None, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Print the account that a name means, and all its names here. The node is asked the first time; the answer is remembered.

    Args:
        who: A user id, @username or number (+...).
        refresh: Ask the node again. When it says another account, nothing changes and the exit code is 11.
        take: Let the name mean this user id from now on. Ask the person over another way first.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        if take is not None:
            if is_user_id(who):
                raise CommandFailed(
                    Exit.WRONG_LINE, "--take goes with a @username or a number: a user id means itself."
                )
            client.people.remember(who, take)
        user_id = await resolve_account(client, who, refresh=refresh)
        names = client.people.names.of(user_id)
        context.print_result("  ".join([str(user_id), *names]), {"userId": str(user_id), "names": names})

    context.run(act)
