"""`vyry client safety`: print and compare safety numbers, accept a changed key."""

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.names import Account, resolve_account
from vyry.cli.client.safety_numbers import SafetyComparison
from vyry.cli.command_line import Flag
from vyry.client.api.client import Client


def safety(
    who: Account, /, *digits: str, verify: Flag = False, accept: Flag = False, context: CommandContext = DEFAULT_CONTEXT
) -> None:
    """Print and compare safety numbers; accept a changed key.

    A safety number is the same on both devices unless someone intercepts the conversation. After a key change the old and the new number are printed.

    Args:
        digits: With --verify or --accept: the 60 digits shown on the other person's device, with or without spaces. Without them you are asked.
        verify: Mark the stored key as verified if the digits match. A key change removes the mark.
        accept: Accept the new key if the digits match. Held messages are then sent and decrypted.
    """
    if digits and not (verify or accept):
        raise CommandFailed(Exit.WRONG_LINE, "Digits need --verify or --accept.")

    async def act(client: Client) -> None:
        comparing = SafetyComparison(client, context, who, await resolve_account(client, who))
        if verify or accept:
            await comparing.apply_digits("".join(digits), is_accepted=accept, is_verified=verify)
        context.print_result(*comparing.describe(await client.safety.numbers(comparing.user_id)))

    context.run(act)
