"""`vyry client link` and `vyry client approve`: another device of the account, by a QR and six digits that the new device shows and a person types in."""

import sys
from typing import Final

import segno

from vyry.cli.asking import line
from vyry.cli.client.confirming import Yes, confirm_over, may_try_again
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.pins import pin_in, pin_reader
from vyry.cli.client.plain import LONGEST_NAME, quoted, set_in, word
from vyry.cli.client.where import HERE, Where
from vyry.cli.streams import is_person
from vyry.cli.typed import FilePath, Words
from vyry.client.client import Client
from vyry.client.linking import Scanned
from vyry.client.refusals import Refused
from vyry.signal_protocol.refusals import Malformed


#: So often the digits may be typed.
TRIES: Final = 3


def link(*, name: Words = "vyry", yes: Yes = False, where: Where = HERE) -> None:
    """Make this profile another device of an account: show its QR to a device that the account has, and type the six digits shown here there.

    Args:
        name: What the account's owner sees it called.
        yes: Put the account in the place of the one that this profile has, without asking.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        await confirm_over(client, where, yes=yes)
        attempt = await client.links.begin(name)
        if not where.json:
            # Not on standard output: that is for programs to read.
            segno.make(attempt.uri, error="l").terminal(out=sys.stderr, compact=True)
        where.say(
            f"Scan this within two minutes, or type there: vyry client approve '{attempt.uri}'", {"uri": attempt.uri}
        )
        code = await attempt.code()
        where.say(f"Type these digits at the other device: {code}", {"code": code})
        user_id = await attempt.complete()
        where.keep_node()
        where.say(f"Linked: your user id is {user_id}.", {"userId": str(user_id)})

    where.run(act, may_create=True)


def approve(uri: Words, /, *, pin_file: FilePath | None = None, where: Where = HERE) -> None:
    """Let a new device into your account: type the six digits that it shows. What was said before does not go there.

    Args:
        uri: What the new device shows, vyry://link?...; - reads it from the first line of standard input.
        pin_file: The account's PIN, if it has one, on the first line of this file.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        shown = (await line("") or "") if uri == "-" else uri
        pin = None if pin_file is None else pin_in(pin_file)
        try:
            scanned = await client.links.scan(shown.strip())
        except Malformed:
            raise Ended(
                Exit.WRONG_LINE, "This is no link of a new device: copy the whole of it, from vyry://link? to its end."
            ) from None
        if not await _digits_match(scanned):
            await scanned.reject()
            raise Ended(Exit.REFUSED, "The device was not let in: its six digits were not typed.")
        await _approved(scanned, pin)
        where.say(f"{quoted(scanned.name)} is let in.", {"name": scanned.name, "code": scanned.code, "approved": True})

    where.run(act)


async def _approved(scanned: Scanned, pin: str | None) -> None:
    """Hand the account over; a person who gave no PIN where one is needed, or mistyped it, is asked for it. Raises Refused, Unreachable."""
    is_typed = pin is None
    while True:
        try:
            return await scanned.approve(pin)
        except Refused as refused:
            is_missing = pin is None and refused.code in ("PIN_REQUIRED", "INVALID_PIN")
            if not is_typed or not (is_person() if is_missing else may_try_again(refused)):
                raise
        pin = await pin_reader(None)()


async def _digits_match(scanned: Scanned) -> bool:
    """Whether a person typed what the new device shows. The digits are not shown here: they would be copied without a look at the other screen."""
    network = word(scanned.requested_from, LONGEST_NAME)
    asked = f"A device that calls itself {quoted(scanned.name)} asks from {network} to be let into your account."
    print(set_in(asked), file=sys.stderr)
    for _ in range(TRIES):
        typed = await line("Type the six digits that it shows: ")
        if typed is None:
            return False
        if scanned.matches(typed):
            return True
        print("These are other digits.", file=sys.stderr)
    return False
