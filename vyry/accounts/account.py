"""Accounts and their devices as values, and the stores of the account services.

A `Caller` is made from a valid access token only; every other part of the node takes it as authenticated.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.phone import HiddenNumber
from vyry.accounts.signing import FIRST_KEY
from vyry.accounts.usernames import ReservedUsernames, UsernameRules
from vyry.kernel.ids import DeviceId, MailboxId, MailboxKey, UserId


#: How long the row of an ended device is kept: longer than the outcomes of posts, which refer to it.
KEEP_ENDED: Final = timedelta(days=31)


class Platform(Enum):
    """The platform a device reports."""

    IOS = "ios"
    ANDROID = "android"
    WEB = "web"
    DESKTOP = "desktop"
    CLI = "cli"


@dataclass(frozen=True, slots=True)
class Caller:
    """The account and device of a valid access token. `device` is the row id (claim "sid"); `expires_at` is when the token expires."""

    user_id: UserId
    device_id: DeviceId
    device: UUID
    mailbox: MailboxKey
    mailbox_id: MailboxId
    is_primary: bool
    expires_at: datetime
    #: The generation of the device's sessions that the token belongs to.
    generation: int = 1
    #: The key that signed the token.
    key_id: str = FIRST_KEY


@dataclass(frozen=True, slots=True)
class Account:
    """An account. `settings` has the values that the owner set; profile.py has the defaults."""

    user_id: UserId
    #: None: the account has no number.
    phone_sealed: bytes | None = field(repr=False)
    created_at: datetime
    username: str | None = None
    display_name: str | None = None
    bio: str | None = None
    picture_attachment_id: UUID | None = None
    sealed_profile: bytes | None = field(default=None, repr=False)
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountChange:
    """A change of an account: profile columns by their name in `Account`, settings merged by name. None clears a value; `settings` None clears all."""

    profile: Mapping[str, object]
    settings: Mapping[str, object] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Device:
    """One live device of an account."""

    device: UUID
    device_id: DeviceId
    name: str
    platform: Platform
    is_primary: bool
    linked_at: datetime
    last_seen_on: date


@dataclass(frozen=True, slots=True)
class DeviceListing:
    """All live devices of an account in order of their device id, and the epoch of the device list."""

    devices: tuple[Device, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device to be created, with its ids and the hash of its first refresh token."""

    device: UUID
    mailbox_id: MailboxId
    name: str
    platform: Platform
    refresh_hash: str
    refresh_expires_at: datetime
    family_ends_at: datetime


@dataclass(frozen=True, slots=True)
class EndedDevice:
    """A device whose sessions have ended."""

    device: UUID
    mailbox: MailboxKey


@dataclass(frozen=True, slots=True)
class SignupResult:
    """The outcome of a sign-up: the new primary device, and the devices that ended."""

    user_id: UserId
    device_id: DeviceId
    is_new_user: bool
    has_display_name: bool
    ended_devices: tuple[EndedDevice, ...]


class RevocationListener(Protocol):
    """Is notified when sessions end. Best effort: sockets check their session themselves, too."""

    async def close_sockets(self, mailboxes: Collection[MailboxKey]) -> None:
        """Close every socket of these mailboxes, on all nodes."""
        ...


class AccountListener(Protocol):
    """Is notified when an account changes, so that all nodes drop what they have cached of it. Best effort, within a second."""

    async def accounts_changed(self, users: Collection[UserId]) -> None:
        """The settings, friends or blocks of these accounts have changed."""
        ...


class AccountStore(ReservedUsernames, Protocol):
    """Stores accounts. Every method raises `Unavailable` while the database is down."""

    async def sign_up(
        self, number: HiddenNumber, device: NewDevice, now: datetime, *, confirmed: datetime | None = None
    ) -> SignupResult:
        """Find or create the account of this number and give it a new primary device with device id 1, in one transaction.

        All other devices of the account end in the same transaction (with mailboxes, keys and tokens), and its identity key is reset.
        Of two concurrent sign-ups to one number, one ends the device of the other; a number never gets a second account, whichever peppers the nodes use.
        An account stored under an older pepper is moved to the current one. An abandoned account loses its PIN, and all its unlock tokens are
        deleted; it counts as abandoned by `confirmed` (Clock.confirmed_now), or by `now` if that is None.

        Raises:
            Forbidden: the operator has suspended the account.
            RegistrationLocked: the registration lock requires the PIN; nothing has changed.
            Unavailable: the installation uses a pepper that is not among `number.hashes`.
        """
        ...

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
        """Sign up as `sign_up` does, to the account of this unlock token, and consume the token.

        `proven` is the verifier of the PIN that was given. `fresh_recovery` is the hash of the code that replaces the one that passed before; if that one
        is replaced already, the token is invalid. Raises InvalidToken; PinRequired if the lock is on and `proven` is not the stored
        verifier (the token stays valid); Forbidden.
        """
        ...

    async def load(self, user_id: UserId) -> Account:
        """Load an account. Raises NotFound."""
        ...

    async def change(self, user_id: UserId, change: AccountChange, names: UsernameRules) -> Account:
        """Change the account and return it. Settings of concurrent changes merge.

        Its former username becomes reserved; taking a reserved name back ends the reservation. Of concurrent claims of one name, one succeeds.
        Raises NotFound; UsernameTaken for a name of another account or reserved for another; RateLimited if too many names are reserved.
        """
        ...


class DeviceStore(Protocol):
    """Stores the devices of accounts."""

    async def list(self, user_id: UserId) -> DeviceListing:
        """The live devices and the epoch, read in one snapshot. Raises NotFound."""
        ...

    async def rename(self, user_id: UserId, device_id: DeviceId, name: str) -> None:
        """Rename a live device. Raises NotFound."""
        ...

    async def end(self, user_id: UserId, device: UUID, now: datetime) -> EndedDevice:
        """End a live device in one transaction: delete its mailbox, mail, keys and tokens, and raise the epoch. Raises NotFound."""
        ...


class AccountUpkeep(Protocol):
    """The sweeper's tasks on accounts."""

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` expired rows of each kind and return how many were deleted. `now` is a confirmed time.

        These are one-time codes, refresh tokens, unlock tokens and links, and devices that ended more than KEEP_ENDED ago, with their mailboxes.
        """
        ...

    async def clamp_future_dates(self, now: datetime, pin_lock: timedelta, *, is_confirmed: bool) -> int:
        """Date rows from the future, written while a clock was ahead, as if written now; returns how many.

        Otherwise a limit would count them for longer than its window. Rows whose change deletes or unlocks something wait until the clock is confirmed (`is_confirmed`).
        """
        ...
