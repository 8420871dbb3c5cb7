"""Safety numbers: printed, typed by the user, and stored as verified."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from vyry.cli.client.context import CommandContext
from vyry.cli.client.execution import flush_outbox
from vyry.cli.client.exit_codes import CommandFailed, Exit
from vyry.cli.client.terminal_text import indent_continuation
from vyry.cli.prompts import read_line
from vyry.cli.stdio import is_interactive
from vyry.client.api.client import Client
from vyry.client.api.safety import SafetyNumbers


#: The headings of the two numbers while the node lists another key than the accepted one.
OLD_NUMBER_TITLE: Final = "Old safety number (the key stored on this device):"
NEW_NUMBER_TITLE: Final = "New safety number (the key that the node reports now):"
_DIGITS: Final = re.compile(r"[0-9]{60}")


class KeyState(StrEnum):
    """Whether the key of another user was verified."""

    VERIFIED = "verified"
    UNVERIFIED = "not verified"


@dataclass(frozen=True, slots=True)
class SafetyComparison:
    """The safety numbers of an account and the digits that the user types. `who`: the account as it was typed."""

    client: Client
    context: CommandContext
    who: str
    user_id: UUID

    async def apply_digits(self, digits: str, *, is_accepted: bool, is_verified: bool) -> None:
        """Accept the new key, mark it as verified, or both. Raises CommandFailed, NotCompared; then nothing has changed."""
        numbers = await self.client.safety.numbers(self.user_id)
        typed = "".join((digits or await self._read_digits(numbers)).split())
        if (problem := self._mismatch_text(numbers, typed, is_accepted=is_accepted)) is not None:
            raise _not_compared_error(problem)
        if is_accepted:
            await self.client.safety.accept(self.user_id, typed)
        if is_verified:
            await self.client.safety.verify(self.user_id, typed)
        # Send the messages that waited, and the decision to the other devices of the account.
        await flush_outbox(self.client)

    def describe(self, numbers: SafetyNumbers) -> tuple[Sequence[str], Mapping[str, Any]]:
        """The numbers and the next step, as lines and as JSON."""
        is_verified = self.client.safety.is_verified(self.user_id)
        state = KeyState.VERIFIED if is_verified else KeyState.UNVERIFIED
        number = numbers.held or numbers.new or ""
        body = {"userId": str(self.user_id), "safetyNumber": number, "isVerified": is_verified}
        ask = f"Ask {self.who}, in person or by phone, for the safety number shown there. If it is the same"
        if numbers.held is not None and numbers.new is not None:
            step = f"{ask} as the new number, run: {self._command_line('--accept')}"
            lines = [
                OLD_NUMBER_TITLE,
                *_digit_lines(numbers.held),
                state,
                NEW_NUMBER_TITLE,
                *_digit_lines(numbers.new),
                step,
            ]
            return lines, {**body, "newSafetyNumber": numbers.new, "decide": "identityChanged"}
        steps = [] if is_verified else [f"{ask}, run: {self._command_line('--verify')}"]
        return [*_digit_lines(number), state, *steps], body

    def _mismatch_text(self, numbers: SafetyNumbers, typed: str, *, is_accepted: bool) -> str | None:
        """Why these digits are not accepted, or None."""
        if not _DIGITS.fullmatch(typed):
            return "A safety number has 60 digits; nothing was changed."
        if is_accepted and numbers.new is None and typed != numbers.held:
            return f"The key of {self.who} has not changed, and this is not its safety number; nothing was changed."
        if not is_accepted and typed == numbers.new and numbers.held is not None:
            return f"This is the safety number of the new key of {self.who}. To accept that key, run: {self._command_line('--accept')}"
        return None

    async def _read_digits(self, numbers: SafetyNumbers) -> str:
        """The digits that the user types. The number is not printed before, since it has to come from the other side. Without a terminal it is printed, and CommandFailed is raised."""
        if is_interactive():
            return await read_line(indent_continuation(f"Safety number shown to {self.who} (60 digits): ")) or ""
        lines, body = self.describe(numbers)
        if not self.context.json:
            self.context.print_result(lines, body)
        raise _not_compared_error(
            "Nothing was changed: add the 60 digits that the device of the other person shows.", body
        )

    def _command_line(self, flag: str) -> str:
        return f"{self.context.command_line('safety', self.who, flag)} DIGITS"


def _not_compared_error(text: str, body: Mapping[str, Any] | None = None) -> CommandFailed:
    return CommandFailed(Exit.DECIDE, text, {**(body or {}), "decide": "notCompared"})


def format_digits(digits: str) -> str:
    """Twelve groups of five digits, four in a line, to be read aloud."""
    return "\n".join(_digit_lines(digits))


def _digit_lines(digits: str) -> list[str]:
    groups = [digits[at : at + 5] for at in range(0, len(digits), 5)]
    return [" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4)]
