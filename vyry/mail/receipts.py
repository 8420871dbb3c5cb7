"""What became of a post, as its sender may know it.

Of others nothing is told that would show when a device of theirs wakes to somebody whom they do not know: `accepted` is all that a stranger, or who is
blocked, ever learns. It is no secret from friends, and from whom one has answered.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol

from vyry.errors import NotFound
from vyry.kernel.ids import ConversationId, MessageId, UserId
from vyry.mail.envelope import NIL_ID
from vyry.mail.store import CopyState, CopyStatus, MailUpkeep


#: Somebody's place in a conversation.
MemberKey = tuple[ConversationId, UserId]
_MINUTE: Final = timedelta(minutes=1)
#: The conversation of a post that names none.
_NO_CONVERSATION: Final = ConversationId(NIL_ID)


class ReceiptState(Enum):
    """What became of the copies for one account."""

    ACCEPTED = "accepted"
    #: Some device of it has it.
    DELIVERED = "delivered"
    EXPIRED = "expired"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is told of an account that was written to: no device, and no moment more exact than the end of its minute."""

    user_id: UserId
    state: ReceiptState
    at: datetime


class ReceiptStore(Protocol):
    """Knows who lets whom know what has come."""

    async def filter_visible(self, viewer: UserId, members: Collection[MemberKey]) -> set[MemberKey]:
        """Those of these people who let the asker know what has come to them there.

        They have written there themselves, or are friends of the asker; their setting `deliveryReceipts` is not off; neither of the two blocks the other.
        """
        ...


class Receipts:
    """Tells accounts what became of their posts."""

    def __init__(self, upkeep: MailUpkeep, store: ReceiptStore) -> None:
        self._upkeep = upkeep
        self._store = store

    async def list_receipts(self, viewer: UserId, message_id: MessageId) -> list[CopyStatus | Receipt]:
        """Each copy for a device of the asker's own, and one receipt for each other account. Raises NotFound, as it is for a post of somebody else."""
        fates = await self._upkeep.copy_statuses(viewer, message_id)
        if fates is None:
            raise NotFound
        copies: dict[UserId, list[CopyStatus]] = defaultdict(list)
        own: list[CopyStatus | Receipt] = []
        for fate in fates:
            (own if fate.address.user_id == viewer else copies[fate.address.user_id]).append(fate)
        places = {
            user: {(each.conversation_id or _NO_CONVERSATION, user) for each in some} for user, some in copies.items()
        }
        shown = await self._store.filter_visible(viewer, set().union(*places.values())) if places else set()
        return own + [_receipt(user, some, is_shown=places[user] <= shown) for user, some in copies.items()]


def _receipt(user_id: UserId, copies: Sequence[CopyStatus], *, is_shown: bool) -> Receipt:
    state, at = (
        _combine_states(copies) if is_shown else (ReceiptState.ACCEPTED, min(each.accepted_at for each in copies))
    )
    return Receipt(user_id, state, round_up_to_minute(at))


def _combine_states(copies: Sequence[CopyStatus]) -> tuple[ReceiptState, datetime]:
    """It is delivered once one device has it, and lost only when no device can get it any more."""
    moments = {state: [each.since for each in copies if each.state is state] for state in CopyState}
    if read := moments[CopyState.ACKNOWLEDGED]:
        return ReceiptState.DELIVERED, min(read)
    if moments[CopyState.ACCEPTED] or moments[CopyState.DEPOSITED]:
        return ReceiptState.ACCEPTED, min(each.accepted_at for each in copies)
    if expired := moments[CopyState.EXPIRED]:
        return ReceiptState.EXPIRED, max(expired)
    return ReceiptState.DROPPED, max(moments[CopyState.DROPPED])


def round_up_to_minute(at: datetime) -> datetime:
    """The end of the minute of this moment."""
    begun = at.replace(second=0, microsecond=0)
    return at if at == begun else begun + _MINUTE
