"""`vyry client whoami`: read from the profile alone. The node is not asked, and what speaks to it is not loaded: the shortest way to see whether a profile opens."""

from vyry.cli.client.where import HERE, Where
from vyry.client.device import Me


def whoami(*, where: Where = HERE) -> None:
    """Print the user id by which others find you.

    Args:
        where: Which device, and its node.
    """
    user_id = str(where.read(Me.of).user_id)
    where.say(user_id, {"userId": user_id, "node": where.node})
