"""`vyry client whoami`: reads the user id from the profile without a request to the node. A module of its own: it starts without aiohttp."""

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.client.crypto.local_device import LocalDevice


def whoami(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Print your user id."""
    user_id = str(context.read_store(LocalDevice.load).user_id)
    context.print_result(user_id, {"userId": user_id, "node": context.node_url})
