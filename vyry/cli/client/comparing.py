"""Safety numbers and what a person says about them: shown, typed in, noted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from vyry.cli.asking import line
from vyry.cli.client.exits import Ended, Exit
from vyry.cli.client.lasting import out
from vyry.cli.client.plain import set_in
from vyry.cli.client.where import Where
from vyry.cli.streams import is_person
from vyry.client.client import Client
from vyry.client.safety import Numbers


#: How the two numbers are marked while the node tells another key than the held one.
OLD: Final = "old: the key held until now"
NEW: Final = "new: the key that the node tells now"
_DIGITS: Final = re.compile(r"[0-9]{60}")


class Trust(StrEnum):
    """What is known of somebody's key."""

    VERIFIED = "compared"
    UNVERIFIED = "not compared"


@dataclass(frozen=True, slots=True)
class Comparing:
    """Numbers of an account, and what a person says about them. `who`: the account as it was typed."""

    client: Client
    where: Where
    who: str
    user_id: UUID

    async def decide(self, digits: str, *, is_accepted: bool, is_verified: bool) -> None:
        """Accept the new key, note that the number was compared, or both. Raises Ended, NotCompared: then nothing is noted."""
        numbers = await self.client.safety.numbers(self.user_id)
        typed = "".join((digits or await self._asked(numbers)).split())
        if (problem := self._problem(numbers, typed, is_accepted=is_accepted)) is not None:
            raise _not_compared(problem)
        if is_accepted:
            await self.client.safety.accept(self.user_id, typed)
        if is_verified:
            await self.client.safety.verify(self.user_id, typed)
        # What waited is sent by this very command, and own other devices learn what was decided.
        await out(self.client)

    def told(self, numbers: Numbers) -> tuple[Sequence[str], Mapping[str, Any]]:
        """The numbers and what to do next, for people and for programs."""
        is_verified = self.client.safety.is_verified(self.user_id)
        state = Trust.VERIFIED if is_verified else Trust.UNVERIFIED
        number = numbers.held or numbers.new or ""
        body = {"userId": str(self.user_id), "safetyNumber": number, "isVerified": is_verified}
        ask = f"Ask {self.who} over another way for the digits shown there. If they are the same"
        if numbers.held is not None and numbers.new is not None:
            step = f"{ask} as the new ones: {self._line('--accept')}"
            lines = [OLD, *_lines(numbers.held), state, NEW, *_lines(numbers.new), step]
            return lines, {**body, "newSafetyNumber": numbers.new, "decide": "identityChanged"}
        steps = [] if is_verified else [f"{ask}: {self._line('--verify')}"]
        return [*_lines(number), state, *steps], body

    def _problem(self, numbers: Numbers, typed: str, *, is_accepted: bool) -> str | None:
        """Why these digits decide nothing."""
        if not _DIGITS.fullmatch(typed):
            return "These are not the 60 digits of a safety number: nothing was noted."
        if is_accepted and numbers.new is None and typed != numbers.held:
            return f"The key of {self.who} has not changed, and these are not its digits: nothing was noted."
        if not is_accepted and typed == numbers.new and numbers.held is not None:
            return f"These are the digits of the new key of {self.who}. To go on with it: {self._line('--accept')}"
        return None

    async def _asked(self, numbers: Numbers) -> str:
        """The digits that a person types: the number is not shown before, so that they come from the other side. Without a terminal it is shown, and the command ends. Raises Ended."""
        if is_person():
            return await line(set_in(f"The 60 digits that {self.who} sees: ")) or ""
        lines, body = self.told(numbers)
        if not self.where.json:
            self.where.say(lines, body)
        raise _not_compared("Nothing was noted: give the 60 digits that the device of the other side shows.", body)

    def _line(self, flag: str) -> str:
        return f"{self.where.command('safety', self.who, flag)} DIGITS"


def _not_compared(text: str, body: Mapping[str, Any] | None = None) -> Ended:
    return Ended(Exit.DECIDE, text, {**(body or {}), "decide": "notCompared"})


def grouped(digits: str) -> str:
    """Twelve groups of five, four in a line, as people read them aloud."""
    return "\n".join(_lines(digits))


def _lines(digits: str) -> list[str]:
    groups = [digits[at : at + 5] for at in range(0, len(digits), 5)]
    return [" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4)]
