"""Shapes of linking (docs/protocol.md, "Linking"). `publicKey`s and `provisioning` are for the other device; the node never looks inside."""

from typing import Annotated, Literal

from pydantic import Field

from vyry.devices.linking import LinkUpdate, OpenedLink
from vyry.devices.links import ScannedLink
from web.wire.auth import OpaqueToken
from web.wire.keys import KeySet
from web.wire.shapes import Base64, Base64Bytes, Id, Timestamp, WireModel
from web.wire.texts import Name


LinkKey = Annotated[bytes, Base64Bytes(32, 32)]
PlatformName = Literal["ios", "android", "web", "desktop", "cli"]


class NewLink(WireModel):
    """A device that wants to be linked, and its key for this one purpose."""

    public_key: LinkKey
    name: Name
    platform: PlatformName


class OpenLink(WireModel):
    """A link that waits to be scanned. The secret belongs to the new device alone."""

    link_id: Id
    link_secret: str
    expires_at: Timestamp

    @classmethod
    def from_domain(cls, opened: OpenedLink) -> "OpenLink":
        """As the wire has it."""
        return cls(link_id=opened.link_id, link_secret=opened.secret, expires_at=opened.expires_at)


class LinkWait(WireModel):
    """How long to wait for news, in seconds."""

    wait: Annotated[int, Field(ge=0, le=30)] = 0


class Link(WireModel):
    """How a link stands. `provisioning` and `linkToken` are given once, together with the status approved."""

    status: Literal["waiting", "scanned", "approved", "rejected", "expired"]
    approver_public_key: LinkKey | None
    provisioning: Base64 | None
    link_token: str | None

    @classmethod
    def from_domain(cls, news: LinkUpdate) -> "Link":
        """As the wire has it."""
        return cls.model_validate(
            {
                "status": news.status.value,
                "approver_public_key": news.approver_public_key,
                "provisioning": news.provisioning,
                "link_token": news.token,
            }
        )


class ScanLink(WireModel):
    """The key of the device that scanned."""

    public_key: LinkKey


class Scanned(WireModel):
    """What the owner is shown: whose key it is, how that device calls itself, and from which network it asks."""

    public_key: LinkKey
    name: str
    platform: PlatformName
    requested_from: str
    expires_at: Timestamp

    @classmethod
    def from_domain(cls, scanned: ScannedLink) -> "Scanned":
        """As the wire has it."""
        return cls(
            public_key=scanned.public_key,
            name=scanned.name,
            platform=scanned.platform.value,
            requested_from=scanned.requested_from,
            expires_at=scanned.expires_at,
        )


class ApproveLink(WireModel):
    """The digits are the same: let the new device in."""

    provisioning: Annotated[bytes, Base64Bytes(1, 64 << 10)]
    pin: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class CompleteLink(KeySet):
    """The new device with its keys; `linkToken` is good once."""

    link_token: OpaqueToken
