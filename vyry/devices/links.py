"""A link as values, and what linking asks of a database: one row, and each step one conditional change of it, so of two who take a step one succeeds."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from vyry.accounts.account import Caller, NewDevice, Platform
from vyry.accounts.tokens import RefreshToken
from vyry.devices.keyset import KeyUpload
from vyry.errors import AlreadyUsed, Forbidden, NotFound
from vyry.kernel.ids import DeviceId, MailboxId, UserId


LINK_LIFETIME: Final = timedelta(seconds=120)
#: How long an expired link still says that it is expired, instead of being unknown.
EXPIRED_LINK_RETENTION: Final = timedelta(minutes=10)
#: Device numbers are 1 to this.
MAX_DEVICE_ID: Final = 127


class LinkStatus(Enum):
    """How far a link has come."""

    WAITING = "waiting"
    SCANNED = "scanned"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    #: Nobody is told this one: to the new device it stays approved.
    COMPLETED = "completed"


#: The steps in which there is something to wait for.
PENDING: Final = frozenset({LinkStatus.WAITING, LinkStatus.SCANNED})


@dataclass(frozen=True, slots=True)
class NewLink:
    """What a device that wants to be linked says of itself. `requested_from` is the network it came from, never its address."""

    link_id: UUID
    secret_hash: str
    public_key: bytes = field(repr=False)
    name: str
    platform: Platform
    requested_from: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link as the new device sees it, and whose it is. `is_given`: provisioning and token were handed over."""

    status: LinkStatus
    user_id: UserId | None
    secret_hash: str
    approver_public_key: bytes | None = field(repr=False)
    is_delivered: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """A device of an account takes the link for that account, and shows its own key."""

    link_id: UUID
    caller: Caller
    public_key: bytes = field(repr=False)
    now: datetime


@dataclass(frozen=True, slots=True)
class ScannedLink:
    """What the approver is shown before it agrees."""

    public_key: bytes = field(repr=False)
    name: str
    platform: Platform
    requested_from: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """The person said that the digits are the same. `provisioning` is for the new device alone."""

    link_id: UUID
    caller: Caller
    provisioning: bytes = field(repr=False)
    max_devices: int
    now: datetime


@dataclass(frozen=True, slots=True)
class Completion:
    """The new device comes to life with these ids, keys and this refresh token."""

    token_hash: str
    upload: KeyUpload
    device: UUID
    mailbox_id: MailboxId
    refresh: RefreshToken
    max_devices: int
    now: datetime

    def new_device(self, name: str, platform: Platform) -> NewDevice:
        """The device to be made, called as it called itself when it asked."""
        refresh = self.refresh
        return NewDevice(
            self.device, self.mailbox_id, name, platform, refresh.hash, refresh.expires_at, refresh.family_ends_at
        )


@dataclass(frozen=True, slots=True)
class LinkedDevice:
    """The device that a completion made."""

    user_id: UserId
    device_id: DeviceId
    has_display_name: bool


class LinkStore(Protocol):
    """The truth about links. Every method raises `Unavailable` when the database is away.

    A link has ended with its expiry, and with the sessions of the device that scanned it: nothing can be approved, taken or completed from then on.
    """

    async def create(self, link: NewLink) -> None:
        """A link that waits to be scanned."""
        ...

    async def load_states(self, links: Collection[UUID], now: datetime) -> Mapping[UUID, LinkState]:
        """How these links stand, by one statement; unknown ones are absent."""
        ...

    async def claim_provisioning(self, link_id: UUID, token_hash: str, now: datetime) -> bytes | None:
        """The provisioning of an approved link, which from now on completes by the token of this hash: to the first who asks, None to all others."""
        ...

    async def scan(self, scan: Scan) -> ScannedLink:
        """The link belongs to the caller's account from now on. Raises NotFound (unknown, expired, of another account), AlreadyUsed."""
        ...

    async def approve(self, approval: Approval) -> None:
        """The link may be completed. Raises NotFound, Forbidden (scanned by another device), AlreadyUsed, DeviceLimit."""
        ...

    async def reject(self, link_id: UUID, by: Caller, now: datetime) -> None:
        """The link may never be completed, approved or not. Raises NotFound, AlreadyUsed (completed, or not scanned yet)."""
        ...

    async def find_account(self, token_hash: str, now: datetime) -> UserId:
        """The account whose link this token would complete now: a look before costly checks. Raises InvalidToken, AlreadyUsed."""
        ...

    async def complete(self, completion: Completion) -> LinkedDevice:
        """Make the device with mailbox, keys and refresh token, and tell everybody, in one transaction; the token is used then.

        Raises InvalidToken, AlreadyUsed, DeviceLimit, IdentityMismatch, InvalidKeys (a registration id that the number had before); a refused completion
        changes nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """Why a step was refused is read from this: whose the link is, how far, until when, and which device scanned it."""

    status: LinkStatus
    user_id: UserId | None
    scanner: UUID | None
    expires_at: datetime


def step_error(found: LinkRecord | None, by: Caller, now: datetime, *, only_scanner: bool = False) -> Exception:
    """What to say to a caller whose step was not taken: who may not see the link hears what is said of one that does not exist."""
    if found is None or found.expires_at <= now or found.user_id not in (None, by.user_id):
        return NotFound()
    if only_scanner and found.status is LinkStatus.SCANNED and found.scanner != by.device:
        return Forbidden("Only the device that scanned may approve.")
    return AlreadyUsed()


def visible_status(status: LinkStatus, expires_at: datetime, now: datetime, *, is_session_live: bool) -> LinkStatus:
    """The status as the new device is told it; `stands`: the sessions of the device that scanned it go on."""
    if status in (LinkStatus.REJECTED, LinkStatus.COMPLETED):
        return status
    if expires_at <= now:
        return LinkStatus.EXPIRED
    return status if is_session_live or status is LinkStatus.WAITING else LinkStatus.REJECTED


def next_device_id(last: int, live: Collection[int]) -> DeviceId:
    """The next device number after the last one given, round to 1 after 127, skipping live ones."""
    return next(
        DeviceId(number) for step in range(MAX_DEVICE_ID) if (number := 1 + (last + step) % MAX_DEVICE_ID) not in live
    )
