"""`vyry client whoami`: read from the profile alone. The node is not asked, and what speaks to it is not loaded: the shortest way to see whether a profile opens."""

from vyry.cli.client.context import DEFAULT_CONTEXT, CommandContext
from vyry.client.crypto.local_device import LocalDevice


def whoami(*, context: CommandContext = DEFAULT_CONTEXT) -> None:
    """Print the user id by which others find you.

    Args:
        context: Which device, and its node.
    """
    user_id = str(context.read_store(LocalDevice.load).user_id)
    context.print_result(user_id, {"userId": user_id, "node": context.node_url})
