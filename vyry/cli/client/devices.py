"""`vyry client devices`: what else is signed in to the account."""

from cyclopts import App

from vyry.cli.client.app import format_examples
from vyry.cli.client.confirmation import confirm
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.terminal_text import quote_name, sanitize_fields
from vyry.cli.command_line import Flag, FreeText
from vyry.client.api.client import Client


app = App(
    name="devices",
    help="The devices of your account.",
    help_epilogue=format_examples("devices list", 'devices rename 1 "the old laptop"', "devices remove 2"),
)


@app.command(name="list")
def list_all(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List them; * is this one.

    Args:
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.devices.list():
            mark, shown = "*" if each["isCurrent"] else " ", sanitize_fields(each)
            seen = shown["lastSeenOn"] or "never"
            text = f"{mark} {shown['deviceId']:3}  {shown['kind']:8} {quote_name(each['name'])} (seen {seen})"
            context.print_result(text, each)

    context.run(act)


@app.command
def rename(device_id: int, name: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Call a device something else.

    Args:
        device_id: Its number in the list.
        name: What to call it.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        told = await client.devices.rename(device_id, name)
        context.print_result(f"Device {device_id} is {quote_name(told['name'])} now.", told)

    context.run(act)


@app.command
def remove(device_id: int, /, *, yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """End a device within a second: it gets no mail any more.

    Args:
        device_id: Its number in the list.
        yes: Do it without asking.
        context: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await confirm(f"This ends device {device_id}, and mail that waits for it is lost.", yes=yes)
        await client.devices.remove(device_id)
        context.print_result(f"Device {device_id} has ended.", {"deviceId": device_id, "ended": True})

    context.run(act)
