"""What the node itself has to say to a device (docs/protocol.md, "Notices"): names, numbers and texts only, so that sorted and without spaces it is RFC 8785."""

from typing import Annotated, Literal

from pydantic import Field

from web.wire.shapes import Count, DeviceNumber, Id, WireModel


class PrekeysLow(WireModel):
    """This device should upload one-time keys."""

    name: Literal["prekeysLow"]
    one_time_remaining: Count
    pq_remaining: Count


class DevicesChanged(WireModel):
    """An account this one talks to has other devices now."""

    name: Literal["devicesChanged"]
    user_id: Id
    epoch: Count
    identity_changed: bool


class DeviceLinked(WireModel):
    """The own account has one device more."""

    name: Literal["deviceLinked"]
    device_id: DeviceNumber
    device_name: str
    platform: Literal["ios", "android", "web", "desktop", "cli"]


class DeviceIdle(WireModel):
    """A linked device of the own account ends on that day unless it is used before."""

    name: Literal["deviceIdle"]
    device_id: DeviceNumber
    ends_on: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class PinChanged(WireModel):
    """The PIN of the own account is another one, or there is none any more."""

    name: Literal["pinChanged"]
    change: Literal["set", "changed", "removed", "reset"]


class PinFailed(WireModel):
    """Somebody gave a wrong PIN for the own account."""

    name: Literal["pinFailed"]
    attempts_remaining: Count


class RegistrationAttempted(WireModel):
    """Somebody proved the own number and was stopped by the registration lock."""

    name: Literal["registrationAttempted"]


class TokenReused(WireModel):
    """A refresh token of a device of the own account was used twice: its sessions have ended."""

    name: Literal["tokenReused"]
    device_id: DeviceNumber


class AccountDeleted(WireModel):
    """An account this one talked to is gone."""

    name: Literal["accountDeleted"]
    user_id: Id


class ConversationChanged(WireModel):
    """A conversation is another one now, in what is said of it or in who belongs to it; who is no member any more is told too."""

    name: Literal["conversationChanged"]
    conversation_id: Id
    version: Count


class GroupInvited(WireModel):
    """The own account is invited into a group; told of the first that waits."""

    name: Literal["groupInvited"]


class CallMissed(WireModel):
    """Somebody called, and no device of the account took it."""

    name: Literal["callMissed"]
    user_id: Id
    call_id: Id


Notice = (
    PrekeysLow
    | DevicesChanged
    | DeviceLinked
    | DeviceIdle
    | PinChanged
    | PinFailed
    | RegistrationAttempted
    | TokenReused
    | AccountDeleted
    | ConversationChanged
    | GroupInvited
    | CallMissed
)
