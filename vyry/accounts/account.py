"""People and their devices as values, and what the account services ask of a database.

`Caller` is who a valid access token speaks for; every other part of the node takes it as proven.
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


#: How long an ended device is remembered: longer than the outcomes of posts, which name it.
KEEP_ENDED: Final = timedelta(days=31)


class Platform(Enum):
    """What a device says it runs on."""

    IOS = "ios"
    ANDROID = "android"
    WEB = "web"
    DESKTOP = "desktop"
    CLI = "cli"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a valid access token speaks for. `device` is the row id (claim "sid"); `expires_at` is the token's own end."""

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
    """A person. `settings` holds only what was set; the defaults are the reader's business."""

    user_id: UserId
    phone_sealed: bytes = field(repr=False)
    created_at: datetime
    username: str | None = None
    display_name: str | None = None
    bio: str | None = None
    picture_attachment_id: UUID | None = None
    sealed_profile: bytes | None = field(default=None, repr=False)
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What to change: columns by their name in `Account` (None clears), settings merged by name (None clears; `settings` None clears all)."""

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
    """All live devices of an account, by rising number, and the epoch of its device list."""

    devices: tuple[Device, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device about to come to life, with ids already made and the hash of its first refresh token."""

    device: UUID
    mailbox_id: MailboxId
    name: str
    platform: Platform
    refresh_hash: str
    refresh_expires_at: datetime
    family_ends_at: datetime


@dataclass(frozen=True, slots=True)
class EndedDevice:
    """A device whose sessions are over."""

    device: UUID
    mailbox: MailboxKey


@dataclass(frozen=True, slots=True)
class SignupResult:
    """What a sign-up made: the new primary device, and the devices that ended for it."""

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
    """The truth about accounts. Every method raises `Unavailable` when the database is away."""

    async def sign_up(
        self, number: HiddenNumber, device: NewDevice, now: datetime, *, confirmed: datetime | None = None
    ) -> SignupResult:
        """Find or make the account of this number and give it one new primary device, numbered 1, in one transaction.

        All other devices of the account end in the same transaction (mailboxes, keys and tokens too) and its identity key is reset.
        Of two at once for one number, one ends the device of the other; there is never a second account, whichever peppers their nodes use.
        An account under an older pepper moves to the one in use. Raises Unavailable when the installation uses a pepper that `number` does not know.
        Raises Forbidden while the operator has suspended the account, RegistrationHeld (vyry/accounts/registration_lock.py) while its registration lock holds: nothing
        changes then. The PIN of an account that nobody uses any more goes; whoever else waits at the lock has to prove the number again.
        Whether nobody uses it is judged by `confirmed` (Clock.confirmed), or by `now` without it.
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
    ) -> SignupResult:
        """Sign up as `sign_up` does, to the account whose number waits with this token (vyry/accounts/registration_lock.py), and use the token up.

        `proven` is the verifier of the PIN that was given. Raises InvalidToken; PinRequired while the lock holds and `proven` is not the PIN (the token stays
        good); Forbidden.
        """
        ...

    async def load(self, user_id: UserId) -> Account:
        """The account. Raises NotFound."""
        ...

    async def change(self, user_id: UserId, change: AccountChange, names: UsernameRules) -> Account:
        """Change the account and answer it whole. Settings of concurrent changes merge.

        A username that it had rests from then on; taking one back ends its rest. Of many that take a name at once, on any nodes, one has it.
        Raises NotFound; UsernameTaken for a name that another account has, or that rests and was not this account's; RateLimited if too many rest.
        """
        ...


class DeviceStore(Protocol):
    """The devices of an account as their owner sees them."""

    async def list(self, user_id: UserId) -> DeviceListing:
        """The live devices and the epoch, of one moment. Raises NotFound."""
        ...

    async def rename(self, user_id: UserId, device_id: DeviceId, name: str) -> None:
        """Give a live device another name. Raises NotFound."""
        ...

    async def end(self, user_id: UserId, device: UUID, now: datetime) -> EndedDevice:
        """End one live device: mailbox, waiting mail, keys and tokens go, the epoch rises, all in one transaction. Raises NotFound."""
        ...


class AccountUpkeep(Protocol):
    """What the sweeper does about accounts."""

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` rows of each kind that mean nothing any more; answers how many went.

        `now` is a confirmed moment. These are expired codes, refresh and registration tokens and links, and devices that ended more than KEEP_ENDED ago with their mailboxes.
        """
        ...

    async def clamp_future_dates(self, now: datetime, pin_lock: timedelta, *, is_sure: bool) -> int:
        """Rows that a clock which was ahead dated later than any written now could be are dated as if written now; answers how many.

        So nothing counts against a person for longer than its window. What would be taken away or unlocked by it waits until the clock `is_sure`.
        """
        ...
