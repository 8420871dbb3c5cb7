"""What cannot be undone is asked about, or said with --yes; and what was mistyped is asked for again."""

import sys
from typing import Annotated, Final

from cyclopts import Parameter

from vyry.cli.asking import agrees
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.plain import set_in
from vyry.cli.client.where import Where
from vyry.cli.streams import is_person
from vyry.client.client import Client
from vyry.client.refusals import NotRegistered, Refused


#: Do it without asking.
Yes = Annotated[bool, Parameter(negative=())]
_WRONG: Final = {"INVALID_OTP": "That code is wrong", "INVALID_PIN": "That PIN is wrong"}


async def confirm(what: str, *, yes: bool) -> None:
    """Come back when this is really to be done. Raises Ended: a person did not type yes, or there is none to ask."""
    if yes:
        return
    if not is_person():
        raise Ended(Exit.DECIDE, f"{what} Nothing was done: --yes does it.", {"decide": "notConfirmed"})
    if not await agrees(what):
        raise Ended(Exit.DECIDE, "Nothing was done.", {"decide": "notConfirmed"})


async def confirm_over(client: Client, where: Where, *, yes: bool) -> None:
    """The same for a new account in a profile that may have one. Raises Ended."""
    try:
        held = client.user_id
    except NotRegistered:
        return
    await confirm(
        f"{where.folder} has the account {held}: another one in its place cannot read what is sent to that, and nobody is told. "
        "A second account belongs into another --profile.",
        yes=yes,
    )


def may_try_again(refused: Refused, *, is_piped_too: bool = False) -> bool:
    """Whether a code or PIN that was mistyped, by a person or perhaps through a pipe, can be typed again: there are tries left, and this is said."""
    left = refused.body.get("attempts_remaining")
    is_wrong = refused.code in _WRONG and isinstance(left, int) and left > 0
    if not is_wrong or not (is_piped_too or is_person()):
        return False
    print(set_in(f"{_WRONG[refused.code]}; tries left: {left}."), file=sys.stderr, flush=True)
    return True
