"""The key directory: publish, refill, list, claim (docs/protocol.md, "Keys")."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vyry.devices.keyset import (
    AccountKeys,
    Bundle,
    ClaimResult,
    KeyRefill,
    KeyState,
)
from vyry.errors import IdentityMismatch, InvalidKeys, NotFound
from vyry.kernel.ids import DeviceId, UserId
from vyry.limits import CLAIM_TARGET, KEYS
from web.app_keys import CALLER, GRANTS, SERVICES
from web.bodies import json_response, path_id, read_body
from web.route import Route
from web.wire.keys import KeySet, SignedKey, SuiteName, UncheckedRegistrationId, UnsignedKey
from web.wire.shapes import Base64, Count, DeviceNumber, Id, Sha256, WireModel


class MoreKeys(WireModel):
    """Keys to add to the current set (POST /keys/prekeys)."""

    one_time_prekeys: Annotated[list[UnsignedKey], Field(default_factory=list, max_length=100)]
    pq_prekeys: Annotated[list[SignedKey], Field(default_factory=list, max_length=100)]
    signed_prekey: SignedKey | None = None
    pq_last_resort: SignedKey | None = None

    def to_domain(self) -> KeyRefill:
        """The domain value of this shape."""
        return KeyRefill(
            [prekey.to_domain() for prekey in self.one_time_prekeys],
            [prekey.to_domain() for prekey in self.pq_prekeys],
            self.signed_prekey.to_domain() if self.signed_prekey else None,
            self.pq_last_resort.to_domain() if self.pq_last_resort else None,
        )


class IssuedThrough(WireModel):
    """The highest prekey ids ever issued, 0 for none."""

    one_time: Count
    pq: Count


class KeyStatus(WireModel):
    """Status of the caller's keys; null before the first upload."""

    one_time_remaining: Count
    pq_remaining: Count
    signed_prekey_id: Count | None
    signed_prekey_age_seconds: Count | None
    last_resort_uses: Count
    issued_through: IssuedThrough
    digest: Sha256

    @classmethod
    def from_domain(cls, state: KeyState, now: datetime) -> "KeyStatus":
        """The shape of this domain value."""
        age = now - state.signed_prekey_at if state.signed_prekey_at else None
        return cls(
            one_time_remaining=len(state.one_time),
            pq_remaining=len(state.pq),
            signed_prekey_id=state.signed_prekey_id,
            signed_prekey_age_seconds=None if age is None else max(0, int(age.total_seconds())),
            last_resort_uses=state.last_resort_uses,
            issued_through=IssuedThrough(one_time=state.issued_through.one_time, pq=state.issued_through.pq),
            digest=state.digest(),
        )


class ListedDevice(WireModel):
    """A device with keys."""

    device_id: DeviceNumber
    registration_id: UncheckedRegistrationId
    identity_dh_key: Base64 | None
    identity_dh_signature: Base64 | None


class KeyListing(WireModel):
    """An account's identity and its devices with keys; `identityKey` and `suite` are null before the first upload."""

    user_id: Id
    identity_key: Base64 | None
    suite: SuiteName | None
    epoch: Count
    devices: Sequence[ListedDevice]

    @classmethod
    def from_domain(cls, keys: AccountKeys) -> "KeyListing":
        """The shape of this domain value."""
        return cls(
            user_id=keys.user_id,
            identity_key=keys.identity_key,
            suite=keys.suite.value if keys.suite else None,
            epoch=keys.epoch,
            devices=[
                ListedDevice(
                    device_id=device.device_id,
                    registration_id=device.registration_id,
                    identity_dh_key=device.identity.dh_key,
                    identity_dh_signature=device.identity.dh_signature,
                )
                for device in keys.devices
            ],
        )


class Claim(WireModel):
    """Devices to start sessions with (POST /keys/{userId}/claim); without `deviceIds` all but the caller."""

    device_ids: Annotated[list[DeviceNumber], Field(min_length=1, max_length=127)] | None = None

    def to_domain(self) -> frozenset[DeviceId] | None:
        """The domain value of this shape."""
        return None if self.device_ids is None else frozenset(map(DeviceId, self.device_ids))


class ClaimedBundle(WireModel):
    """The keys that start a session with one device."""

    device_id: DeviceNumber
    registration_id: UncheckedRegistrationId
    suite: SuiteName
    identity_key: Base64
    identity_dh_key: Base64 | None
    identity_dh_signature: Base64 | None
    signed_prekey: SignedKey
    one_time_prekey: UnsignedKey | None
    pq_prekey: SignedKey
    pq_prekey_is_last_resort: bool

    @classmethod
    def from_domain(cls, bundle: Bundle) -> "ClaimedBundle":
        """The shape of this domain value."""
        identity, one_time = bundle.device.identity, bundle.one_time
        return cls(
            device_id=bundle.device.device_id,
            registration_id=bundle.device.registration_id,
            suite=identity.suite.value,
            identity_key=identity.key,
            identity_dh_key=identity.dh_key,
            identity_dh_signature=identity.dh_signature,
            signed_prekey=SignedKey.from_domain(bundle.signed_prekey),
            one_time_prekey=UnsignedKey(id=one_time.id, key=one_time.key) if one_time else None,
            pq_prekey=SignedKey.from_domain(bundle.pq),
            pq_prekey_is_last_resort=bundle.is_last_resort,
        )


class ClaimedBundles(WireModel):
    """The bundles of one claim, and the epoch of their device list."""

    epoch: Count
    bundles: Sequence[ClaimedBundle]

    @classmethod
    def from_domain(cls, claimed: ClaimResult) -> "ClaimedBundles":
        """The shape of this domain value."""
        return cls(epoch=claimed.epoch, bundles=[ClaimedBundle.from_domain(bundle) for bundle in claimed.bundles])


async def replace(request: web.Request) -> web.Response:
    """PUT /keys."""
    services = request.app[SERVICES]
    request[GRANTS] = [(KEYS.name, await services.prekeys.consume_upload_quota(request[CALLER]))]
    upload = await read_body(request, KeySet)
    state = await services.prekeys.replace(request[CALLER], upload.to_domain())
    return json_response(KeyStatus.from_domain(state, services.clock.now()))


async def refill(request: web.Request) -> web.Response:
    """POST /keys/prekeys."""
    services = request.app[SERVICES]
    request[GRANTS] = [(KEYS.name, await services.prekeys.consume_upload_quota(request[CALLER]))]
    more = await read_body(request, MoreKeys)
    state = await services.prekeys.refill(request[CALLER], more.to_domain())
    return json_response(KeyStatus.from_domain(state, services.clock.now()))


async def status(request: web.Request) -> web.Response:
    """GET /keys/status."""
    services = request.app[SERVICES]
    state = await services.prekeys.state(request[CALLER])
    return json_response(KeyStatus.from_domain(state, services.clock.now()))


async def list_account_keys(request: web.Request) -> web.Response:
    """GET /keys/{userId}."""
    keys = await request.app[SERVICES].prekeys.keys(request[CALLER], UserId(path_id(request, "userId")))
    return json_response(KeyListing.from_domain(keys))


async def claim(request: web.Request) -> web.Response:
    """POST /keys/{userId}/claim."""
    wanted = await read_body(request, Claim)
    target = UserId(path_id(request, "userId"))
    claimed, request[GRANTS] = await request.app[SERVICES].prekeys.claim(request[CALLER], target, wanted.to_domain())
    return json_response(ClaimedBundles.from_domain(claimed))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="PUT",
        path="/api/v1/keys",
        operation="keys.replace",
        handler=replace,
        summary="Replace this device's key set",
        body=KeySet,
        responses={200: KeyStatus},
        refusals=(InvalidKeys, IdentityMismatch),
        documented_quota=KEYS,
    ),
    Route(
        method="POST",
        path="/api/v1/keys/prekeys",
        operation="keys.refill",
        handler=refill,
        summary="Add prekeys to this device's set",
        body=MoreKeys,
        responses={200: KeyStatus},
        refusals=(InvalidKeys,),
        documented_quota=KEYS,
    ),
    Route(
        method="GET",
        path="/api/v1/keys/status",
        operation="keys.status",
        handler=status,
        summary="Status of this device's keys",
        responses={200: KeyStatus},
    ),
    Route(
        method="GET",
        path="/api/v1/keys/{userId}",
        operation="keys.show",
        handler=list_account_keys,
        summary="An account's identity key and its devices with keys; consumes nothing",
        responses={200: KeyListing},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{userId}/claim",
        operation="keys.claim",
        handler=claim,
        summary="Claim bundles to start sessions with an account's devices; a one-time key is never issued twice",
        body=Claim,
        is_body_optional=True,
        responses={200: ClaimedBundles},
        refusals=(NotFound,),
        documented_quota=CLAIM_TARGET,
    ),
)
