"""The key directory."""

from typing import Final

from vyry.errors import (
    IdentityMismatch,
    InvalidKeys,
    NotFound,
)
from vyry.limits import CLAIM_TARGET, KEYS
from web.app_keys import Route
from web.handlers import keys
from web.wire.keys import Claim, ClaimedBundles, KeyListing, KeySet, KeyStatus, MoreKeys


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="PUT",
        path="/api/v1/keys",
        operation="keys.replace",
        handler=keys.replace,
        summary="Publish this device's whole key set in the place of the present one",
        body=KeySet,
        responses={200: KeyStatus},
        refusals=(InvalidKeys, IdentityMismatch),
        quota=KEYS,
    ),
    Route(
        method="POST",
        path="/api/v1/keys/prekeys",
        operation="keys.refill",
        handler=keys.refill,
        summary="Add prekeys to this device's set",
        body=MoreKeys,
        responses={200: KeyStatus},
        refusals=(InvalidKeys,),
        quota=KEYS,
    ),
    Route(
        method="GET",
        path="/api/v1/keys/status",
        operation="keys.status",
        handler=keys.status,
        summary="What the node holds for this device",
        responses={200: KeyStatus},
    ),
    Route(
        method="GET",
        path="/api/v1/keys/{userId}",
        operation="keys.show",
        handler=keys.show,
        summary="An account's identity key and its devices with keys; consumes nothing",
        responses={200: KeyListing},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{userId}/claim",
        operation="keys.claim",
        handler=keys.claim,
        summary="Bundles to begin sessions with an account's devices; one-time keys in them are never given again",
        body=Claim,
        is_body_optional=True,
        responses={200: ClaimedBundles},
        refusals=(NotFound,),
        quota=CLAIM_TARGET,
    ),
)
