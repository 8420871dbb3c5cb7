"""`vyry client safety`: whether the other side is who it says."""

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import resolve_account
from vyry.cli.client.safety_numbers import SafetyComparison
from vyry.cli.command_line import Flag
from vyry.client.api.client import Client


def safety(
    who: str, /, *digits: str, verify: Flag = False, accept: Flag = False, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Print the number that is the same on both sides when nobody stands between. After a change of key there are two: the old one and the new one.

    Args:
        who: A user id, @username or number (+...).
        digits: With --verify or --accept: the 60 digits that the device of the other side shows, with or without spaces. Without them you are asked.
        verify: Note that these digits are the number of the key that is held. The note falls when their key changes.
        accept: Go on with the new key, if these digits are its number. What waited is sent and opened.
        context: Which device, and its node.
    """
    if digits and not (verify or accept):
        raise CommandFailed(Exit.WRONG_LINE, "Digits go with --verify or --accept.")

    async def act(client: Client) -> None:
        comparing = SafetyComparison(client, context, who, await resolve_account(client, who))
        if verify or accept:
            await comparing.apply_digits("".join(digits), is_accepted=accept, is_verified=verify)
        context.print_result(*comparing.describe(await client.safety.numbers(comparing.user_id)))

    context.run(act)
