"""Shapes of push registration (docs/protocol.md, "Push"). Which members belong to which kind is the domain's business."""

from typing import Annotated, Literal

from pydantic import Field

from vyry.devices.push import PushKind, PushTarget
from web.wire.shapes import Base64, WireModel


class VapidKey(WireModel):
    """`publicKey`: an uncompressed point of P-256 (65 bytes), what browsers call applicationServerKey."""

    public_key: Base64


class RegisterPush(WireModel):
    """How the calling device wants to be woken: webpush has `endpoint`, `p256dh`, `auth`; unifiedpush `endpoint`; fcm `token`; apns `token`, `topic`."""

    kind: Literal["webpush", "unifiedpush", "fcm", "apns"]
    endpoint: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    #: Named as browsers name it; a letter after digits would become a capital.
    p256dh: Annotated[Base64 | None, Field(alias="p256dh")] = None
    auth: Base64 | None = None
    token: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    topic: Annotated[str, Field(min_length=1, max_length=255)] | None = None

    def to_domain(self) -> PushTarget:
        """As the domain has it."""
        return PushTarget(PushKind(self.kind), self.endpoint, self.p256dh, self.auth, self.token, self.topic)
