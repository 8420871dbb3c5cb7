"""Conversations."""

from typing import Final

from vyry.errors import Forbidden, NotFound
from vyry.limits import NEW_CONTACTS
from web.handlers import conversations
from web.keys import Route
from web.wire.conversations import ConversationList, ConversationsQuery, ConversationView, OpenConversation


ROWS: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/conversations",
        handler=conversations.open_one,
        summary="Open the direct conversation with somebody (200 if there is one already), or make a group",
        body=OpenConversation,
        answers={201: ConversationView, 200: ConversationView},
        refusals=(NotFound, Forbidden),
        quota=NEW_CONTACTS,
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
