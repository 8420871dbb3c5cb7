"""`vyry client safety`: whether the other side is who it says."""

from enum import StrEnum
from typing import Annotated

from cyclopts import Parameter

from vyry.cli.client.naming import person
from vyry.cli.client.where import HERE, Where
from vyry.client.client import Client


Flag = Annotated[bool, Parameter(negative=())]


class Trust(StrEnum):
    """What is known of somebody's key."""

    VERIFIED = "compared"
    UNVERIFIED = "not compared"


def safety(who: str, /, *, verify: Flag = False, accept: Flag = False, where: Where = HERE) -> None:
    """Print the number that is the same on both sides when nobody stands between: compare it, over another way, digit by digit.

    Args:
        who: A user id, @username or number (+...).
        verify: Note that the numbers are the same. The note falls when their key changes.
        accept: Go on with a key that has changed: compare first.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        user_id = await person(client, who)
        if accept:
            await client.safety.accept(user_id)
        if verify:
            await client.safety.verify(user_id)
        digits = await client.safety.number(user_id)
        is_verified = client.safety.is_verified(user_id)
        trust = Trust.VERIFIED if is_verified else Trust.UNVERIFIED
        body = {"userId": str(user_id), "safetyNumber": digits, "isVerified": is_verified}
        where.say(f"{grouped(digits)}\n{trust}", body)

    where.run(act)


def grouped(digits: str) -> str:
    """Twelve groups of five, four in a line, as people read them aloud."""
    groups = [digits[at : at + 5] for at in range(0, len(digits), 5)]
    return "\n".join(" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4))
