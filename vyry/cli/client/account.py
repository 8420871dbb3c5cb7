"""Commands about the account of a profile: sign up, who one is, what one shows, what the node knows."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from cyclopts import Parameter

from vyry.cli.asking import line
from vyry.cli.client.confirming import Yes, confirm, confirm_over, may_try_again
from vyry.cli.client.exits import Ended, Exit, ended
from vyry.cli.client.naming import person, shown
from vyry.cli.client.pins import pin_reader
from vyry.cli.client.plain import quoted
from vyry.cli.client.where import HERE, Where
from vyry.cli.codes import code_in
from vyry.cli.typed import FilePath, Words
from vyry.client.client import Client
from vyry.client.names import read_number
from vyry.client.refusals import Refused
from vyry.client.registering import Proofs


def register(
    phone_number: str,
    /,
    *,
    codes: FilePath | None = None,
    pin_file: FilePath | None = None,
    yes: Yes = False,
    where: Where = HERE,
) -> None:
    """Sign up with a telephone number; the code that it is sent is asked for. All other devices of the account end.

    Args:
        phone_number: With its country code, such as "+49 151 2345678"; blanks, hyphens, brackets and 00 for + are understood.
        codes: Read the code from this file, which the node writes (its VYRY_SMS is file:PATH), instead of asking.
        pin_file: If the number is locked by a PIN, it is on the first line of this file; without it you are asked.
        yes: Put the new account in the place of the one that this profile has, without asking.
        where: Which device, and its node.
    """
    is_typed = {"INVALID_OTP": codes is None, "INVALID_PIN": pin_file is None}

    wrong: list[Refused] = []

    def again(refused: Refused) -> bool:
        wrong.append(refused)
        # Behind a wrong code in a pipe the right one may come.
        is_code = refused.code == "INVALID_OTP"
        return is_typed.get(refused.code, False) and may_try_again(refused, is_piped_too=is_code)

    async def act(client: Client) -> None:
        number = read_number(phone_number)
        await confirm_over(client, where, yes=yes)
        user_id = await client.register(number, Proofs(_reader(number, codes, wrong), pin_reader(pin_file), again))
        where.keep_node()
        where.say(f"Registered: your user id is {user_id}.", {"userId": str(user_id)})

    where.run(act, may_create=True)


#: Of a name, in characters.
_LONGEST: Final = 100


@Parameter(name="*")
@dataclass(frozen=True)
class Changes:
    """What to show from now on.

    Attributes:
        username: By which others find you: 3 to 30 of a-z 0-9 _ and dot.
        name: What is shown to friends; the node can read it.
        bio: A few words about you; the node can read them.
        sealed_name: A name that only those can read whom you write to; "" takes it away.
        about: A few words that only they can read; "" takes them away.
    """

    username: Words | None = None
    name: Words | None = None
    bio: Words | None = None
    sealed_name: Words | None = None
    about: Words | None = None


NOTHING: Final = Changes()


def profile(who: str | None = None, /, *, changes: Changes = NOTHING, where: Where = HERE) -> None:
    """Show what others see of you, and change it; or what somebody else shows.

    Args:
        who: Somebody else: a user id, a @username or a number.
        changes: What to change.
        where: Which device, and its node.
    """
    username = changes.username.strip().removeprefix("@") if changes.username else None
    clear = (("username", username), ("displayName", changes.name), ("bio", changes.bio))
    fields = {key: value for key, value in clear if value}

    async def act(client: Client) -> None:
        if who is not None:
            told = await client.people.profile(await person(client, who))
            name = shown(client, told)
            _show(where, told, name if name.startswith("another ") else told["username"])
            return
        told = await client.account.update(**fields) if fields else await client.account.get()
        if changes.sealed_name is not None or changes.about is not None:
            told = await client.account.show(name=changes.sealed_name, about=changes.about)
        _show(where, told, told["username"])

    where.run(act)


def _show(where: Where, told: dict[str, Any], username: str | None) -> None:
    lines: dict[str, str | None] = {
        key: told[key] for key in ("userId", "username", "displayName", "bio", "phoneNumber") if key in told
    }
    lines |= {"username": username, "sealedName": told["profile"]["name"], "about": told["profile"]["about"]}
    where.say([f"{key:12} {_words(key, said)}" for key, said in lines.items()], told)


def _words(key: str, said: str | None) -> str:
    """A name that somebody chose is in quotes: it is no username. What goes on in another line stands below the first."""
    if not said:
        return "-"
    return quoted(said, _LONGEST) if key in ("displayName", "sealedName") else str(said).replace("\n", f"\n{'':11}")


def export(file: FilePath, /, *, where: Where = HERE) -> None:
    """Write everything that the node knows of the account into a file that only you can read.

    Args:
        file: The archive: one JSON object (docs/protocol.md, "The archive"). It must not be there yet.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        archive = await client.account.export()
        await asyncio.to_thread(_write, file, archive)
        where.say(f"Written to {file}.", {"file": str(file)})

    where.run(act)


def logout(*, yes: Yes = False, where: Where = HERE) -> None:
    """End this device: its tokens, keys and mailbox at the node are gone. What was said stays in the profile.

    Args:
        yes: Do it without asking.
        where: Which device, and its node.
    """

    async def act(client: Client) -> None:
        me = client.user_id
        await confirm(f"This ends this device of {me}, and mail that waits for it is lost.", yes=yes)
        await client.account.logout()
        where.say("This device has ended.", {"ended": True})

    where.run(act)


def _write(file: Path, archive: dict[str, Any]) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(orjson.dumps(archive, option=orjson.OPT_INDENT_2))
    except OSError as failed:
        raise Ended(Exit.FAILED, f"{file} cannot be written ({failed.strerror}).") from None


def _reader(phone_number: str, codes: Path | None, wrong: Sequence[Refused]) -> Callable[[], Awaitable[str]]:
    async def typed() -> str:
        found = await line("The code that was sent: ")
        if wrong and not found:
            raise ended(wrong[-1])
        if not found or not found.strip():
            raise Ended(Exit.FAILED, "No code was typed, so nothing was registered.")
        return found.strip()

    return typed if codes is None else partial(code_in, codes, phone_number)
