"""Actions of operators, as the audit log records them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """One action and its reason. `subject` is the account concerned; None is the whole node."""

    at: datetime
    operator: str
    action: str
    reason: str
    subject: UUID | None = None
