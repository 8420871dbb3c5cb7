"""What `vyry check` answers, a value for each thing that was looked at."""

from dataclasses import dataclass
from typing import Literal


State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: State
    text: str
