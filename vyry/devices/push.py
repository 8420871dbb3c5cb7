"""Push targets: where a push for a device without a socket goes. Pushes have no content."""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from vyry.accounts.account import Caller
from vyry.devices.endpoints import PUBLIC, EndpointPolicy, is_allowed_endpoint
from vyry.errors import InvalidRequest, InvalidToken, NotFound


#: RFC 8291 section 3.2: a point of P-256, uncompressed, and 16 octets.
_P256DH_OCTETS: Final = 65
_AUTH_OCTETS: Final = 16


class PushKind(Enum):
    """The push service."""

    WEBPUSH = "webpush"
    UNIFIEDPUSH = "unifiedpush"
    FCM = "fcm"
    APNS = "apns"


#: The fields of each kind, besides `kind`.
MEMBERS: Final = {
    PushKind.WEBPUSH: ("endpoint", "p256dh", "auth"),
    PushKind.UNIFIEDPUSH: ("endpoint",),
    PushKind.FCM: ("token",),
    PushKind.APNS: ("token", "topic"),
}


@dataclass(frozen=True, slots=True)
class PushTarget:
    """The push target of a device; fields that its kind does not use are None."""

    kind: PushKind
    endpoint: str | None = field(default=None, repr=False)
    p256dh: bytes | None = field(default=None, repr=False)
    auth: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    topic: str | None = None


class PushStore(Protocol):
    """Stores push targets. Both methods raise `Unavailable` while the database is down."""

    async def save(self, device: UUID, target: PushTarget) -> bool:
        """Replace the target of the device; False if the device has ended."""
        ...

    async def delete(self, device: UUID) -> None:
        """Delete the target of the device."""
        ...


class PushTargets:
    """Registers and removes push targets."""

    def __init__(
        self, store: PushStore, vapid_key: bytes | None = None, endpoint_policy: EndpointPolicy = PUBLIC
    ) -> None:
        self._store = store
        self._vapid_key = vapid_key
        self._endpoint_policy = endpoint_policy

    @property
    def public_key(self) -> bytes | None:
        """The public key of the node, or None."""
        return self._vapid_key

    def vapid_key(self) -> bytes:
        """The public key that a browser binds its subscription to. Raises NotFound if the node has none: then it cannot send Web Push."""
        if self._vapid_key is None:
            raise NotFound
        return self._vapid_key

    async def register(self, caller: Caller, target: PushTarget) -> None:
        """Set the push target of the caller's device. Raises InvalidRequest (a field is missing, unknown for the kind or invalid), InvalidToken."""
        check_target(target, self._endpoint_policy)
        if not await self._store.save(caller.device, target):
            raise InvalidToken

    async def withdraw(self, caller: Caller) -> None:
        """Remove the push target of the caller's device."""
        await self._store.delete(caller.device)


def check_target(target: PushTarget, endpoint_policy: EndpointPolicy) -> None:
    """Check that the target has exactly the fields of its kind, with valid values. Raises InvalidRequest."""
    for name in ("endpoint", "p256dh", "auth", "token", "topic"):
        is_given, is_wanted = getattr(target, name) is not None, name in MEMBERS[target.kind]
        if is_given != is_wanted:
            raise _wrong(name, f"{target.kind.value} {'needs' if is_wanted else 'has no'} {name}")
    if target.endpoint is not None and not is_allowed_endpoint(target.endpoint, endpoint_policy):
        raise _wrong(
            "endpoint", "must be an https:// URL on the public internet, port 443, without user, password or fragment"
        )
    if target.p256dh is not None and not _is_point(target.p256dh):
        raise _wrong("p256dh", "must be an uncompressed point of P-256 (65 bytes)")
    if target.auth is not None and len(target.auth) != _AUTH_OCTETS:
        raise _wrong("auth", f"must have {_AUTH_OCTETS} bytes")
    if target.kind is PushKind.APNS:
        _check_apns(target)


def _check_apns(target: PushTarget) -> None:
    # The token is used in a path, the topic in a header.
    if target.token is not None and not re.fullmatch(r"(?:[0-9a-fA-F]{2}){1,100}", target.token):
        raise _wrong("token", "must be the device token in hex")
    if target.topic is not None and not re.fullmatch(r"[A-Za-z0-9.-]+", target.topic):
        raise _wrong("topic", "must be the bundle id of the app")


def _is_point(octets: bytes) -> bool:
    if len(octets) != _P256DH_OCTETS:
        return False
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), octets)
    except ValueError:
        return False
    return True


def _wrong(field_name: str, problem: str) -> InvalidRequest:
    return InvalidRequest(fields=[{"field": field_name, "problem": problem}])
