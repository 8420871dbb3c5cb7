"""What operators do, for the log that nobody can change."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """One line: `operator` did `act` at that moment, and says why. `subject` is the account it was done to; None is the whole node."""

    at: datetime
    operator: str
    action: str
    reason: str
    subject: UUID | None = None
