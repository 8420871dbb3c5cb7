"""Shapes of the account (docs/protocol.md, "Account, profile, PIN")."""

from typing import Annotated, Literal

from web.wire.shapes import Base64Bytes, Id, Timestamp, WireModel
from web.wire.texts import Bio, Name, Username


SealedProfile = Annotated[bytes, Base64Bytes(0, 8 << 10)]


class Settings(WireModel):
    """Every setting with the value that holds."""

    messages_from: Literal["everyone", "friends"]
    discoverable_by_phone: bool
    show_presence: bool
    delivery_receipts: bool
    read_receipts: bool
    typing_indicators: bool


class SettingsChange(WireModel):
    """Settings to change; null restores the default, what is absent stays."""

    messages_from: Literal["everyone", "friends"] | None = None
    discoverable_by_phone: bool | None = None
    show_presence: bool | None = None
    delivery_receipts: bool | None = None
    read_receipts: bool | None = None
    typing_indicators: bool | None = None


class ChangeAccount(WireModel):
    """What to change; null clears, what is absent stays."""

    username: Username | None = None
    display_name: Name | None = None
    bio: Bio | None = None
    picture_attachment_id: Id | None = None
    sealed_profile: SealedProfile | None = None
    settings: SettingsChange | None = None


class Account(WireModel):
    """The account as its owner sees it."""

    user_id: Id
    #: Masked: country code and last two digits.
    phone_number: str
    username: str | None
    display_name: str | None
    bio: str | None
    picture_attachment_id: Id | None
    sealed_profile: SealedProfile | None
    settings: Settings
    created_at: Timestamp
