"""`vyry client whois`: which account a name means in this profile."""

from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.naming import is_user_id, person
from vyry.cli.client.where import HERE, Where
from vyry.client.client import Client


Flag = Annotated[bool, Parameter(negative=())]


def whois(who: str, /, *, refresh: Flag = False, take: UUID | None = None, where: Where = HERE) -> None:
    """Print the account that a name means, and all its names here. The node is asked the first time; the answer is remembered.

    Args:
        who: A user id, @username or number (+...).
        refresh: Ask the node again. When it says another account, nothing changes and the exit code is 11.
        take: Let the name mean this user id from now on. Ask the person over another way first.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        if take is not None:
            if is_user_id(who):
                raise Ended(Exit.WRONG_LINE, "--take goes with a @username or a number: a user id means itself.")
            client.people.remember(who, take)
        user_id = await person(client, who, refresh=refresh)
        names = client.people.names.of(user_id)
        where.say("  ".join([str(user_id), *names]), {"userId": str(user_id), "names": names})

    where.run(act)
