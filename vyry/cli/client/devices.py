"""`vyry client devices`: the devices of the account."""

from cyclopts import App

from vyry.cli.client.app import format_examples
from vyry.cli.client.confirmation import confirm
from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.cli.client.linking import finish_history
from vyry.cli.client.terminal_text import quote_name, sanitize_fields
from vyry.cli.command_line import Flag, FreeText
from vyry.client.api.client import Client


app = App(
    name="devices",
    help_epilogue=format_examples(
        "devices list", 'devices rename 1 "the old laptop"', "devices remove 2", "devices history"
    ),
)


@app.command(name="list")
def list_all(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """List your devices; * marks this one."""

    async def act(client: Client) -> None:
        for each in await client.devices.list():
            mark, shown = "*" if each["isCurrent"] else " ", sanitize_fields(each)
            seen = shown["lastSeenOn"] or "never"
            text = f"{mark} {shown['deviceId']:3}  {shown['kind']:8} {quote_name(each['name'])} (seen {seen})"
            context.print_result(text, each)

    context.run(act)


@app.command
def rename(device_id: int, name: FreeText, /, *, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Rename a device.

    Args:
        device_id: The number of the device in `devices list`.
        name: The new name.
    """

    async def act(client: Client) -> None:
        renamed = await client.devices.rename(device_id, name)
        context.print_result(f"Device {device_id} is now named {quote_name(renamed['name'])}.", renamed)

    context.run(act)


@app.command
def remove(device_id: int, /, *, yes: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Remove a device: within a second it receives no more messages.

    Args:
        device_id: The number of the device in `devices list`.
        yes: Skip the confirmation prompt.
    """

    async def act(client: Client) -> None:
        await confirm(f"This removes device {device_id}. Messages that it has not received are lost.", yes=yes)
        await client.devices.remove(device_id)
        context.print_result(f"Device {device_id} is removed.", {"deviceId": device_id, "ended": True})

    context.run(act)


@app.command
def history(*, drop: Flag = False, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Continue the transfer of the history to or from a new device, until it is complete.

    Args:
        drop: Give it up, and remove what was imported so far.
    """

    async def act(client: Client) -> None:
        if drop:
            removed = await client.history.drop()
            context.print_result(f"Dropped. Events removed: {removed:,}.", {"dropped": True, "removed": removed})
        elif client.history.is_pending:
            await finish_history(client, context)
        else:
            context.print_result("No history is to be transferred.", {"historyTransferred": False})

    context.run(act)
