"""`vyry client safety`: whether the other side is who it says."""

from typing import Annotated

from cyclopts import Parameter

from vyry.cli.client.comparing import Comparing
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.naming import person
from vyry.cli.client.where import HERE, Where
from vyry.client.client import Client


Flag = Annotated[bool, Parameter(negative=())]


def safety(who: str, /, *digits: str, verify: Flag = False, accept: Flag = False, where: Where = HERE) -> None:
    """Print the number that is the same on both sides when nobody stands between. After a change of key there are two: the old one and the new one.

    Args:
        who: A user id, @username or number (+...).
        digits: With --verify or --accept: the 60 digits that the device of the other side shows, with or without spaces. Without them you are asked.
        verify: Note that these digits are the number of the key that is held. The note falls when their key changes.
        accept: Go on with the new key, if these digits are its number. What waited is sent and opened.
        where: Which device, and its node.
    """
    if digits and not (verify or accept):
        raise Ended(Exit.WRONG_LINE, "Digits go with --verify or --accept.")

    async def act(client: Client) -> None:
        comparing = Comparing(client, where, who, await person(client, who))
        if verify or accept:
            await comparing.decide("".join(digits), is_accepted=accept, is_verified=verify)
        where.say(*comparing.told(await client.safety.numbers(comparing.user_id)))

    where.run(act)
