"""Fakes of the stores of accounts, devices, sessions and tickets, in dictionaries. One asyncio step is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import count
from uuid import UUID

from tests.fakes.pins import PinState
from vyry.accounts.account import (
    Account,
    AccountChange,
    Caller,
    Device,
    DeviceListing,
    EndedDevice,
    NewDevice,
    SignupResult,
)
from vyry.accounts.device_status import DeviceStatus, Revocation
from vyry.accounts.phone import HiddenNumber
from vyry.accounts.registration_lock import RegistrationLock, RegistrationLocked
from vyry.accounts.sessions import Reused, Rotated, Rotation, RotationOutcome
from vyry.accounts.usernames import UsernameRules
from vyry.errors import InvalidToken, NotFound, PinRequired, UsernameTaken
from vyry.kernel.ids import DeviceId, MailboxId, MailboxKey, UserId, new_id


@dataclass(slots=True)
class _Device:
    user_id: UserId
    shown: Device
    mailbox: MailboxKey
    mailbox_id: MailboxId
    generation: int = 1


@dataclass(slots=True)
class _Token:
    device: UUID
    expires_at: datetime
    family_ends_at: datetime
    used_at: datetime | None = None
    attempt_id: UUID | None = None
    successor: str | None = None


@dataclass(slots=True)
class AccountState:
    """What the stores below share. `devices` holds the live ones only."""

    accounts: dict[UserId, Account] = field(default_factory=dict)
    numbers: dict[str, UserId] = field(default_factory=dict)
    epochs: dict[UserId, int] = field(default_factory=dict)
    devices: dict[UUID, _Device] = field(default_factory=dict)
    tokens: dict[str, _Token] = field(default_factory=dict)
    pins: PinState = field(default_factory=PinState)
    mailboxes: "count[int]" = field(default_factory=lambda: count(1))
    #: By name: whose it was, if that account lives, and when it is free.
    reserved_names: dict[str, tuple[UserId | None, date]] = field(default_factory=dict)
    revocations: list[Revocation] = field(default_factory=list)
    #: The device number given last, by account.
    last_numbers: dict[UserId, DeviceId] = field(default_factory=dict)

    #: The last day on which an ended device of an account was seen.
    last_seen: dict[UserId, date] = field(default_factory=dict)

    def live_devices(self, user_id: UserId) -> list[_Device]:
        """The live devices of an account."""
        return [device for device in self.devices.values() if device.user_id == user_id]

    def add(self, user_id: UserId, number: DeviceId, new: NewDevice, now: datetime) -> Caller:
        """A new device of the account; the first one is its primary."""
        is_primary = not self.live_devices(user_id)
        shown = Device(new.device, number, new.name, new.platform, is_primary, now, now.date())
        mailbox = MailboxKey(next(self.mailboxes))
        self.devices[new.device] = _Device(user_id, shown, mailbox, new.mailbox_id)
        self.tokens[new.refresh_hash] = _Token(new.device, new.refresh_expires_at, new.family_ends_at)
        self.last_numbers[user_id] = number
        return Caller(user_id, number, new.device, mailbox, new.mailbox_id, is_primary, now)

    def end(self, devices: Collection[UUID]) -> tuple[EndedDevice, ...]:
        """End these."""
        self.drop_tokens(devices)
        for known in (self.devices[device] for device in devices):
            self.last_seen[known.user_id] = max(known.shown.last_seen_on, self.last_seen.get(known.user_id, date.min))
        for device in devices:
            self.add_revocation(device)
        return tuple(EndedDevice(device, self.devices.pop(device).mailbox) for device in devices)

    def add_revocation(self, device: UUID) -> None:
        """Leave word of the end of this device's sessions."""
        self.revocations.append(Revocation(len(self.revocations) + 1, device, None))

    def load_registration_lock(self, user_id: UserId) -> RegistrationLock | None:
        """What a sign-up to this account has to look at first."""
        pin = self.pins.pins.get(user_id)
        seen = [device.shown.last_seen_on for device in self.live_devices(user_id)]
        last = max([*seen, self.last_seen.get(user_id, date.min)])
        return None if pin is None else RegistrationLock(pin.verifier, pin.registration_lock, last)

    def drop_tokens(self, devices: Collection[UUID]) -> None:
        """Forget every refresh token of these."""
        self.tokens = {name: token for name, token in self.tokens.items() if token.device not in devices}


class MemoryAccounts:
    """AccountStore."""

    def __init__(self, ledger: AccountState) -> None:
        self._ledger = ledger

    async def sign_up(
        self, number: HiddenNumber, device: NewDevice, now: datetime, *, confirmed: datetime | None = None
    ) -> SignupResult:
        ledger = self._ledger
        hashes = [each for each in number.hashes.values() if each in ledger.numbers]
        user_id = ledger.numbers[hashes[0]] if hashes else None
        is_new = user_id is None
        pin = None if user_id is None else ledger.load_registration_lock(user_id)
        if user_id is not None and pin is not None and pin.requires_pin((confirmed or now).date()):
            raise RegistrationLocked(user_id)
        if user_id is not None and pin is not None and pin.is_abandoned((confirmed or now).date()):
            del ledger.pins.pins[user_id]
            ledger.pins.events.append((user_id, "pinRemoved"))
        for each in hashes:
            del ledger.numbers[each]
        if user_id is None:
            user_id = UserId(new_id())
            ledger.accounts[user_id] = Account(user_id, number.sealed, now)
            ledger.epochs[user_id] = 1
        ledger.numbers[number.hash] = user_id
        ledger.accounts[user_id] = replace(ledger.accounts[user_id], phone_sealed=number.sealed)
        return self._install_primary_device(user_id, device, now, is_new=is_new)

    async def unlock(
        self,
        token_hash: str,
        proven: str | None,
        device: NewDevice,
        now: datetime,
        *,
        confirmed: datetime | None = None,
        fresh_recovery: str | None = None,
    ) -> SignupResult:
        ledger = self._ledger
        account_id, expires_at = ledger.pins.registrations.get(token_hash, (UUID(int=0), now))
        if account_id not in ledger.accounts or expires_at <= now:
            raise InvalidToken
        pin = ledger.load_registration_lock(UserId(account_id))
        if pin is not None and pin.requires_pin((confirmed or now).date()) and pin.verifier.text != proven:
            raise PinRequired
        return self._install_primary_device(UserId(account_id), device, now, is_new=False)

    def _install_primary_device(
        self, user_id: UserId, device: NewDevice, now: datetime, *, is_new: bool
    ) -> SignupResult:
        ledger = self._ledger
        ended = ledger.end([known.shown.device for known in ledger.live_devices(user_id)])
        ledger.epochs[user_id] += 0 if is_new else 1
        waiting = ledger.pins.registrations.items()
        ledger.pins.registrations = {token: place for token, place in waiting if place[0] != user_id}
        _ = ledger.add(user_id, DeviceId(1), device, now)
        has_name = ledger.accounts[user_id].display_name is not None
        return SignupResult(user_id, DeviceId(1), is_new, has_name, ended)

    async def load(self, user_id: UserId) -> Account:
        if user_id not in self._ledger.accounts:
            raise NotFound
        return self._ledger.accounts[user_id]

    async def change(self, user_id: UserId, change: AccountChange, names: UsernameRules) -> Account:
        account = await self.load(user_id)
        name = change.profile.get("username", account.username)
        if name != account.username:
            await self._rename(account, str(name) if name else None, names)
        merged = {} if change.settings is None else {**account.settings, **change.settings}
        settings = {name: value for name, value in merged.items() if value is not None}
        changed = replace(account, **change.profile, settings=settings)  # type: ignore[arg-type]  # names and types are the caller's promise
        self._ledger.accounts[user_id] = changed
        return changed

    async def reserved_until(self, user_id: UserId, today: date) -> Sequence[date]:
        return sorted(
            free_on for owner, free_on in self._ledger.reserved_names.values() if owner == user_id and free_on > today
        )

    async def _rename(self, account: Account, name: str | None, names: UsernameRules) -> None:
        resting = dict(self._ledger.reserved_names)
        if name is not None:
            owner, free_on = resting.pop(name, (None, names.today))
            is_held = any(other.username == name for other in self._ledger.accounts.values())
            if is_held or (free_on > names.today and owner != account.user_id):
                raise UsernameTaken
        if account.username is not None:
            mine = [each for owner, each in resting.values() if owner == account.user_id and each > names.today]
            names.check_reserved(mine)
            resting[account.username] = account.user_id, names.released_on
        self._ledger.reserved_names = resting


class MemoryDevices:
    """DeviceStore."""

    def __init__(self, ledger: AccountState) -> None:
        self._ledger = ledger

    async def list(self, user_id: UserId) -> DeviceListing:
        if user_id not in self._ledger.accounts:
            raise NotFound
        shown = (device.shown for device in self._ledger.live_devices(user_id))
        return DeviceListing(tuple(sorted(shown, key=lambda each: each.device_id)), self._ledger.epochs[user_id])

    async def rename(self, user_id: UserId, device_id: DeviceId, name: str) -> None:
        for device in self._ledger.live_devices(user_id):
            if device.shown.device_id == device_id:
                device.shown = replace(device.shown, name=name)
                return
        raise NotFound

    async def end(self, user_id: UserId, device: UUID, now: datetime) -> EndedDevice:
        found = self._ledger.devices.get(device)
        if found is None or found.user_id != user_id:
            raise NotFound
        self._ledger.epochs[user_id] += 1
        return self._ledger.end([device])[0]


class MemorySessions:
    """SessionStore and StandingStore."""

    def __init__(self, ledger: AccountState) -> None:
        self._ledger = ledger

    async def load_statuses(self, devices: Collection[UUID]) -> Mapping[UUID, DeviceStatus]:
        found = {device: self._ledger.devices[device] for device in devices if device in self._ledger.devices}
        return {
            device: DeviceStatus(
                device,
                known.user_id,
                known.shown.device_id,
                known.mailbox,
                known.mailbox_id,
                known.shown.is_primary,
                known.generation,
                known.shown.last_seen_on,
            )
            for device, known in found.items()
        }

    async def load_revocations(self, after: int | None) -> Sequence[Revocation]:
        known = self._ledger.revocations
        return known[-1:] if after is None else [each for each in known if each.number > after]

    async def record_last_seen(self, devices: Collection[UUID], day: date) -> None:
        for device in devices:
            known = self._ledger.devices.get(device)
            if known is not None and known.shown.last_seen_on < day:
                known.shown = replace(known.shown, last_seen_on=day)

    async def rotate(self, rotation: Rotation) -> RotationOutcome:
        token = self._ledger.tokens.get(rotation.hash)
        if token is None or (token.used_at is None and token.expires_at <= rotation.judged_at):
            return None
        if token.used_at is not None and not self._is_retry(token, rotation):
            return self._end_family(token.device)
        if token.used_at is None:
            token.used_at, token.attempt_id = rotation.now, rotation.attempt_id
        elif token.successor is not None:
            del self._ledger.tokens[token.successor]
        token.successor = rotation.successor
        expires_at = min(rotation.now + rotation.idle_lifetime, token.family_ends_at)
        self._ledger.tokens[rotation.successor] = _Token(token.device, expires_at, token.family_ends_at)
        device = self._ledger.devices[token.device]
        return Rotated(device.user_id, token.device, device.generation, expires_at)

    def _is_retry(self, token: _Token, rotation: Rotation) -> bool:
        successor = self._ledger.tokens.get(token.successor or "")
        is_unseen = successor is not None and successor.used_at is None
        is_in_time = token.used_at is not None and abs(rotation.now - token.used_at) <= rotation.retry_window
        return is_unseen and is_in_time and token.attempt_id == rotation.attempt_id

    def _end_family(self, device: UUID) -> Reused:
        known = self._ledger.devices[device]
        known.generation += 1
        self._ledger.add_revocation(device)
        self._ledger.drop_tokens([device])
        return Reused(EndedDevice(device, known.mailbox))
