"""`vyry client invite`: invitations to the node that a member makes."""

import sys
from typing import Annotated, Any
from uuid import UUID

from cyclopts import App, Parameter
from cyclopts.validators import Number

from vyry.cli.client.app import format_examples
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.qr_code import print_qr_code
from vyry.cli.client.terminal_text import quote_name, sanitize_line
from vyry.cli.command_line import FreeText
from vyry.client.api.client import Client


app = App(
    name="invite",
    help_epilogue=format_examples(
        "invite",
        'invite --uses 5 --days 2 --label "the choir"',
        "invite list",
        "invite revoke 0197f6a2-5b1c-7000-8000-3f6d2a9c1e55",
    ),
)


@app.default
def invite(
    *,
    uses: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000))] = 1,
    days: Annotated[int, Parameter(validator=Number(gte=1, lte=365))] = 7,
    label: FreeText | None = None,
    context: CommandContext = DEFAULT_CONTEXT,
) -> None:
    """Invite people to this node: print a link and its QR code. The operator sets how many people you may invite.

    Who joins by the link has you as a verified contact, under your name.

    Args:
        uses: How many people may use the link.
        days: For how many days it is valid.
        label: A note for `invite list`; the node can read it.
    """

    async def act(client: Client) -> None:
        made = await client.node_invitations.create(uses=uses, days=days, label=label)
        own = await client.account.get()
        link = client.node_invitations.link(str(made["token"]), own["profile"]["name"] or own["username"])
        if not context.json and sys.stdout.isatty():
            print_qr_code(link)
        people = "one person" if uses == 1 else f"{uses} people"
        until = sanitize_line(made["expiresAt"])
        lines = [
            link,
            f"For {people}, until {until}. It is shown this once. To join: vyry client join 'LINK' --name NAME",
        ]
        context.print_result(lines, {**made, "link": link})

    context.run(act)


@app.command(name="list")
def list_all(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List your invitations that are neither expired nor revoked."""

    async def act(client: Client) -> None:
        for each in await client.node_invitations.list():
            context.print_result(_invitation_line(each), each)

    context.run(act)


@app.command
def revoke(invitation: UUID, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Revoke an invitation: no one can use its link any more. Accounts made with it stay.

    Args:
        invitation: The id that `invite list` prints.
    """

    async def act(client: Client) -> None:
        await client.node_invitations.revoke(invitation)
        context.print_result("Revoked.", {"id": str(invitation), "revoked": True})

    context.run(act)


def _invitation_line(each: dict[str, Any]) -> str:
    label = f"  {quote_name(each['label'])}" if each["label"] else ""
    used = f"used {sanitize_line(each['used'])} of {sanitize_line(each['uses'])}"
    return f"{sanitize_line(each['id'])}  {used}  until {sanitize_line(each['expiresAt'])}{label}"
