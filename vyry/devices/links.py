"""Links as values, and their store. A link is a row; each step is one conditional update of it, so of concurrent steps one succeeds."""

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
#: How long an expired link is reported as expired, before it is unknown.
EXPIRED_LINK_RETENTION: Final = timedelta(minutes=10)
#: Device ids are 1 to this.
MAX_DEVICE_ID: Final = 127


class LinkStatus(Enum):
    """The progress of a link."""

    WAITING = "waiting"
    SCANNED = "scanned"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    #: Not on the wire: the new device gets APPROVED.
    COMPLETED = "completed"


#: In these a request waits for the next step.
PENDING: Final = frozenset({LinkStatus.WAITING, LinkStatus.SCANNED})


@dataclass(frozen=True, slots=True)
class NewLink:
    """The request of a new device. `requested_from` is the network prefix of its address, never the address."""

    link_id: UUID
    secret_hash: str
    public_key: bytes = field(repr=False)
    name: str
    platform: Platform
    requested_from: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link as the new device sees it, and its account. `is_delivered`: provisioning and token were returned."""

    status: LinkStatus
    user_id: UserId | None
    secret_hash: str
    approver_public_key: bytes | None = field(repr=False)
    is_delivered: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """A device binds a link to its account, and sends its public key."""

    link_id: UUID
    caller: Caller
    public_key: bytes = field(repr=False)
    now: datetime


@dataclass(frozen=True, slots=True)
class ScannedLink:
    """The request of the new device, as the approver sees it."""

    public_key: bytes = field(repr=False)
    name: str
    platform: Platform
    requested_from: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """The owner confirmed that the digits are equal. `provisioning` is for the new device only."""

    link_id: UUID
    caller: Caller
    provisioning: bytes = field(repr=False)
    max_devices: int
    now: datetime


@dataclass(frozen=True, slots=True)
class Completion:
    """The new device, with its ids, its keys and its refresh token."""

    token_hash: str
    upload: KeyUpload
    device: UUID
    mailbox_id: MailboxId
    refresh: RefreshToken
    max_devices: int
    now: datetime

    def new_device(self, name: str, platform: Platform) -> NewDevice:
        """The device to create, with the name and platform of its request."""
        refresh = self.refresh
        return NewDevice(
            self.device, self.mailbox_id, name, platform, refresh.hash, refresh.expires_at, refresh.family_ends_at
        )


@dataclass(frozen=True, slots=True)
class LinkedDevice:
    """A device that was linked."""

    user_id: UserId
    device_id: DeviceId
    has_display_name: bool


class LinkStore(Protocol):
    """Stores links. Every method raises `Unavailable` while the database is down.

    A link ends when it expires, and with the sessions of the device that scanned it: then it cannot be approved, claimed or completed.
    """

    async def create(self, link: NewLink) -> None:
        """Create a link in state WAITING."""
        ...

    async def load_states(self, links: Collection[UUID], now: datetime) -> Mapping[UUID, LinkState]:
        """The states of these links, by one statement; unknown ones are absent."""
        ...

    async def claim_provisioning(self, link_id: UUID, token_hash: str, now: datetime) -> bytes | None:
        """Claim the provisioning of an approved link and set its completion token; the first call gets it, every other one None."""
        ...

    async def scan(self, scan: Scan) -> ScannedLink:
        """Bind the link to the caller's account. Raises NotFound (unknown, expired, of another account), AlreadyUsed."""
        ...

    async def approve(self, approval: Approval) -> None:
        """Approve the link. Raises NotFound, Forbidden (scanned by another device), AlreadyUsed, DeviceLimit."""
        ...

    async def reject(self, link_id: UUID, by: Caller, now: datetime) -> None:
        """Reject the link, approved or not. Raises NotFound, AlreadyUsed (completed, or not scanned yet)."""
        ...

    async def find_account(self, token_hash: str, now: datetime) -> UserId:
        """The account whose link this token can complete, looked up before costly checks. Raises InvalidToken, AlreadyUsed."""
        ...

    async def complete(self, completion: Completion) -> LinkedDevice:
        """Create the device with mailbox, keys and refresh token, consume the token and queue the notices, in one transaction.

        Raises InvalidToken, AlreadyUsed, DeviceLimit, IdentityMismatch, InvalidKeys (the registration id of an earlier device with this device id); then
        nothing has changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A link as read after a refused step, to choose the error: its status, account, scanning device and expiry."""

    status: LinkStatus
    user_id: UserId | None
    scanner: UUID | None
    expires_at: datetime


def step_error(found: LinkRecord | None, by: Caller, now: datetime, *, only_scanner: bool = False) -> Exception:
    """The error for a refused step: NotFound unless the link is of the caller's account, so other accounts learn nothing."""
    if found is None or found.expires_at <= now or found.user_id not in (None, by.user_id):
        return NotFound()
    if only_scanner and found.status is LinkStatus.SCANNED and found.scanner != by.device:
        return Forbidden("Only the device that scanned the link may approve it.")
    return AlreadyUsed()


def visible_status(status: LinkStatus, expires_at: datetime, now: datetime, *, is_session_live: bool) -> LinkStatus:
    """The status for the new device; `is_session_live`: the sessions of the device that scanned it have not ended."""
    if status in (LinkStatus.REJECTED, LinkStatus.COMPLETED):
        return status
    if expires_at <= now:
        return LinkStatus.EXPIRED
    return status if is_session_live or status is LinkStatus.WAITING else LinkStatus.REJECTED


def next_device_id(last: int, live: Collection[int]) -> DeviceId:
    """The device id after the last assigned one, wrapping from 127 to 1 and skipping live ones."""
    return next(
        DeviceId(number) for step in range(MAX_DEVICE_ID) if (number := 1 + (last + step) % MAX_DEVICE_ID) not in live
    )
