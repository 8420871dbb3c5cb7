"""`vyry client devices`: what else is signed in to the account."""

from cyclopts import App

from vyry.cli.client.confirming import Yes, confirm
from vyry.cli.client.examples import examples
from vyry.cli.client.plain import quoted, tame
from vyry.cli.client.where import HERE, Where
from vyry.cli.typed import Words
from vyry.client.client import Client


app = App(
    name="devices",
    help="The devices of your account.",
    help_epilogue=examples("devices list", 'devices rename 1 "the old laptop"', "devices remove 2"),
)


@app.command(name="list")
def list_all(*, where: Where = HERE) -> None:
    """List them; * is this one.

    Args:
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        for each in await client.devices.list():
            mark, shown = "*" if each["isCurrent"] else " ", tame(each)
            seen = shown["lastSeenOn"] or "never"
            text = f"{mark} {shown['deviceId']:3}  {shown['kind']:8} {quoted(each['name'])} (seen {seen})"
            where.say(text, each)

    where.run(act)


@app.command
def rename(device_id: int, name: Words, /, *, where: Where = HERE) -> None:
    """Call a device something else.

    Args:
        device_id: Its number in the list.
        name: What to call it.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        told = await client.devices.rename(device_id, name)
        where.say(f"Device {device_id} is {quoted(told['name'])} now.", told)

    where.run(act)


@app.command
def remove(device_id: int, /, *, yes: Yes = False, where: Where = HERE) -> None:
    """End a device within a second: it gets no mail any more.

    Args:
        device_id: Its number in the list.
        yes: Do it without asking.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await confirm(f"This ends device {device_id}, and mail that waits for it is lost.", yes=yes)
        await client.devices.remove(device_id)
        where.say(f"Device {device_id} has ended.", {"deviceId": device_id, "ended": True})

    where.run(act)
