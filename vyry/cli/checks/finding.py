"""The result of one check, as `vyry check` prints it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


_STATE_LABELS: Final = {"ok": "ok  ", "warning": "warn", "failed": "FAIL"}
State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: `text` says what was found and, unless it is ok, what to do."""

    subject: str
    state: State
    text: str

    def to_json(self) -> Mapping[str, str]:
        """The finding as `vyry check --json` prints it."""
        return {"about": self.subject, "state": self.state, "line": self.text}

    def to_line(self) -> str:
        """The finding as a line of text."""
        return f"{_STATE_LABELS[self.state]}  {self.subject:<11} {self.text}"
