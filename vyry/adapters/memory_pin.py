"""PINs in a dictionary: the twin of the database adapter, for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from vyry.accounts.pin import Change, Guesser, Locked, Miss, NewPin, PinRecord, Trial, Tries, Verifier
from vyry.ids import MailboxKey


@dataclass(slots=True)
class PinLedger:
    """What is known of PINs, what was told to whom (account, notice, the mailbox left out), and what was noted."""

    pins: dict[UUID, PinRecord] = field(default_factory=dict)
    told: list[tuple[UUID, Mapping[str, object], MailboxKey | None]] = field(default_factory=list)
    #: By the hash of the token: the account, and when it expires.
    registrations: dict[str, tuple[UUID, datetime]] = field(default_factory=dict)
    noted: list[tuple[UUID, str]] = field(default_factory=list)


class MemoryPins:
    """PinStore."""

    def __init__(self, ledger: PinLedger) -> None:
        self.ledger = ledger

    async def load(self, account_id: UUID) -> PinRecord | None:
        return self.ledger.pins.get(account_id)

    async def take(
        self,
        account_id: UUID,
        tries: Tries,
        now: datetime,
        *,
        is_at_lock: bool = False,
        locked_from: datetime | None = None,
    ) -> Trial | Locked | None:
        pin = self.ledger.pins.get(account_id)
        if pin is None:
            return None
        misses, until = (pin.lock_misses, pin.lock_locked_until) if is_at_lock else (pin.misses, pin.locked_until)
        if until is not None and until > now:
            return Locked(until)
        misses = 1 + (misses if until is None else 0)
        until = (locked_from or now) + tries.lock if misses >= tries.limit else None
        if is_at_lock:
            self.ledger.pins[account_id] = replace(pin, lock_misses=misses, lock_locked_until=until)
        else:
            self.ledger.pins[account_id] = replace(pin, misses=misses, locked_until=until)
        return Trial(pin.verifier, max(0, tries.limit - misses), until)

    async def give_back(
        self, account_id: UUID, proven: Verifier, renewed: Verifier, *, is_at_lock: bool = False
    ) -> bool:
        if not self._is(account_id, proven):
            return False
        pin = replace(self.ledger.pins[account_id], verifier=renewed, misses=0, locked_until=None)
        self.ledger.pins[account_id] = replace(pin, lock_misses=0, lock_locked_until=None) if is_at_lock else pin
        return True

    async def note_miss(self, miss: Miss) -> None:
        body = {"name": "pinFailed", "attemptsRemaining": miss.trial.left}
        self.ledger.told.append((miss.guesser.account_id, body, miss.guesser.mailbox))
        names = ["pinWrong"] if miss.trial.left else ["pinWrong", "pinLocked"]
        self.ledger.noted += [(miss.guesser.account_id, name) for name in names]

    async def add(self, new: NewPin) -> bool:
        if new.by.account_id in self.ledger.pins:
            return False
        self._put(new, Change.SET)
        return True

    async def replace(self, new: NewPin, proven: Verifier) -> bool:
        if not self._is(new.by.account_id, proven):
            return False
        self._put(new, Change.CHANGED)
        return True

    async def reset(self, new: NewPin) -> None:
        self._put(new, Change.RESET)

    async def remove(self, by: Guesser, proven: Verifier, now: datetime) -> bool:  # noqa: ARG002 - nobody asks when
        if not self._is(by.account_id, proven):
            return False
        del self.ledger.pins[by.account_id]
        self._tell(by, Change.REMOVED)
        return True

    def _is(self, account_id: UUID, proven: Verifier) -> bool:
        pin = self.ledger.pins.get(account_id)
        return pin is not None and pin.verifier == proven

    def _put(self, new: NewPin, change: Change) -> None:
        before = self.ledger.pins.get(new.by.account_id)
        lock = new.registration_lock
        if lock is None:
            lock = before is not None and before.registration_lock
        self.ledger.pins[new.by.account_id] = PinRecord(new.verifier, lock, 0, None)
        self._tell(new.by, change)

    def _tell(self, by: Guesser, change: Change) -> None:
        self.ledger.noted.append((by.account_id, f"pin{change.value.capitalize()}"))
        self.ledger.told.append((by.account_id, {"name": "pinChanged", "change": change.value}, by.mailbox))
