"""Fake of the PIN store, in a dictionary."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from vyry.accounts.pin import (
    CountedTry,
    Guesser,
    NewPin,
    PinChange,
    PinLockout,
    PinRecord,
    PinTryLimit,
    Verifier,
    WrongTry,
)
from vyry.kernel.ids import MailboxKey


@dataclass(slots=True)
class PinState:
    """What is known of PINs, what was told to whom (account, notice, the mailbox left out), and what was noted."""

    pins: dict[UUID, PinRecord] = field(default_factory=dict)
    notices: list[tuple[UUID, Mapping[str, object], MailboxKey | None]] = field(default_factory=list)
    #: By the hash of the token: the account, and when it expires.
    registrations: dict[str, tuple[UUID, datetime]] = field(default_factory=dict)
    events: list[tuple[UUID, str]] = field(default_factory=list)


class MemoryPins:
    """PinStore."""

    def __init__(self, ledger: PinState) -> None:
        self.ledger = ledger

    async def load(self, account_id: UUID) -> PinRecord | None:
        return self.ledger.pins.get(account_id)

    async def count_try(
        self,
        account_id: UUID,
        tries: PinTryLimit,
        now: datetime,
        *,
        is_at_lock: bool = False,
        locked_from: datetime | None = None,
    ) -> CountedTry | PinLockout | None:
        pin = self.ledger.pins.get(account_id)
        if pin is None:
            return None
        misses, until = (
            (pin.lock_wrong_tries, pin.lock_locked_until) if is_at_lock else (pin.wrong_tries, pin.locked_until)
        )
        if until is not None and until > now:
            return PinLockout(until)
        misses = 1 + (misses if until is None else 0)
        until = (locked_from or now) + tries.lock if misses >= tries.limit else None
        if is_at_lock:
            self.ledger.pins[account_id] = replace(pin, lock_wrong_tries=misses, lock_locked_until=until)
        else:
            self.ledger.pins[account_id] = replace(pin, wrong_tries=misses, locked_until=until)
        return CountedTry(pin.verifier, max(0, tries.limit - misses), until)

    async def restore_tries(
        self, account_id: UUID, proven: Verifier, renewed: Verifier, *, is_at_lock: bool = False
    ) -> bool:
        if not self._has_verifier(account_id, proven):
            return False
        pin = replace(self.ledger.pins[account_id], verifier=renewed, wrong_tries=0, locked_until=None)
        self.ledger.pins[account_id] = replace(pin, lock_wrong_tries=0, lock_locked_until=None) if is_at_lock else pin
        return True

    async def record_wrong_try(self, miss: WrongTry) -> None:
        body = {"name": "pinFailed", "attemptsRemaining": miss.counted_try.tries_left}
        self.ledger.notices.append((miss.guesser.account_id, body, miss.guesser.mailbox))
        names = ["pinWrong"] if miss.counted_try.tries_left else ["pinWrong", "pinLocked"]
        self.ledger.events += [(miss.guesser.account_id, name) for name in names]

    async def add(self, new: NewPin) -> bool:
        if new.guesser.account_id in self.ledger.pins:
            return False
        self._put(new, PinChange.SET)
        return True

    async def replace(self, new: NewPin, proven: Verifier) -> bool:
        if not self._has_verifier(new.guesser.account_id, proven):
            return False
        self._put(new, PinChange.CHANGED)
        return True

    async def reset(self, new: NewPin) -> None:
        self._put(new, PinChange.RESET)

    async def remove(self, by: Guesser, proven: Verifier, now: datetime) -> bool:
        if not self._has_verifier(by.account_id, proven):
            return False
        del self.ledger.pins[by.account_id]
        self._record_change(by, PinChange.REMOVED)
        return True

    def _has_verifier(self, account_id: UUID, proven: Verifier) -> bool:
        pin = self.ledger.pins.get(account_id)
        return pin is not None and pin.verifier == proven

    def _put(self, new: NewPin, change: PinChange) -> None:
        before = self.ledger.pins.get(new.guesser.account_id)
        lock = new.registration_lock
        if lock is None:
            lock = before is not None and before.registration_lock
        self.ledger.pins[new.guesser.account_id] = PinRecord(new.verifier, lock, 0, None)
        self._record_change(new.guesser, change)

    def _record_change(self, by: Guesser, change: PinChange) -> None:
        self.ledger.events.append((by.account_id, f"pin{change.value.capitalize()}"))
        self.ledger.notices.append((by.account_id, {"name": "pinChanged", "change": change.value}, by.mailbox))
