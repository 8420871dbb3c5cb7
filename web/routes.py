"""The whole surface as one table: what the app serves, OpenAPI describes and docs/protocol.md promises. Rows are added here and nowhere else."""

from typing import Final

from vyry.errors import IdentityMismatch, InvalidKeys, NotFound, RateLimited
from web.handlers import conversations, health, keys
from web.keys import Route
from web.wire.conversations import ConversationList, ConversationsQuery, ConversationView, OpenConversation
from web.wire.health import Health
from web.wire.keys import Claim, ClaimedBundles, KeyListing, KeySet, KeyStatus, MoreKeys


ROUTES: Final[tuple[Route, ...]] = (
    # Open routes without prefix
    Route(
        method="GET",
        path="/health",
        handler=health.alive,
        summary="Whether this process runs",
        auth="open",
        answers={200: Health},
    ),
    # Keys
    Route(
        method="PUT",
        path="/api/v1/keys",
        handler=keys.replace,
        summary="Publish this device's whole key set in the place of the present one",
        body=KeySet,
        answers={200: KeyStatus},
        refusals=(InvalidKeys, IdentityMismatch),
    ),
    Route(
        method="POST",
        path="/api/v1/keys/prekeys",
        handler=keys.refill,
        summary="Add prekeys to this device's set",
        body=MoreKeys,
        answers={200: KeyStatus},
        refusals=(InvalidKeys,),
    ),
    Route(
        method="GET",
        path="/api/v1/keys/status",
        handler=keys.status,
        summary="What the node holds for this device",
        answers={200: KeyStatus},
    ),
    Route(
        method="GET",
        path="/api/v1/keys/{userId}",
        handler=keys.show,
        summary="An account's identity key and its devices with keys; consumes nothing",
        answers={200: KeyListing},
        refusals=(NotFound,),
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{userId}/claim",
        handler=keys.claim,
        summary="Bundles to begin sessions with an account's devices; one-time keys in them are never given again",
        body=Claim,
        answers={200: ClaimedBundles},
        refusals=(NotFound, RateLimited),
    ),
    # Conversations
    Route(
        method="POST",
        path="/api/v1/conversations",
        handler=conversations.open_one,
        summary="Open the direct conversation with somebody; 200 if there is one already",
        body=OpenConversation,
        answers={201: ConversationView, 200: ConversationView},
        refusals=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/conversations",
        handler=conversations.index,
        summary="The caller's conversations, newest made first",
        query=ConversationsQuery,
        answers={200: ConversationList},
    ),
    Route(
        method="GET",
        path="/api/v1/conversations/{conversationId}",
        handler=conversations.show,
        summary="A conversation the caller belongs to",
        answers={200: ConversationView},
        refusals=(NotFound,),
    ),
)
