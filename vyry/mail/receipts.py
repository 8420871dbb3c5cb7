"""Receipts: what the sender may learn of a post, and the members that have written, which receipts depend on.

A receipt shows when a device of the recipient woke. So strangers and blocked accounts never see more than `accepted`; friends, and accounts that the
recipient has answered, do.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple, Protocol

from vyry.conversations.conversations import ConversationStore
from vyry.errors import NotFound, Unavailable
from vyry.kernel.ids import ConversationId, MessageId, UserId
from vyry.mail.envelope import NIL_ID
from vyry.mail.store import CopyState, CopyStatus, MailUpkeep


#: One member of a conversation.
MemberKey = tuple[ConversationId, UserId]
_MINUTE: Final = timedelta(minutes=1)
#: The conversation of a notice.
_NO_CONVERSATION: Final = ConversationId(NIL_ID)
#: After so many remembered members the log starts again, which costs statements that change nothing.
_MAX_REMEMBERED: Final = 200_000


class ReceiptState(Enum):
    """The state of the copies for one account."""

    ACCEPTED = "accepted"
    #: A device of the account has it.
    DELIVERED = "delivered"
    EXPIRED = "expired"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender sees of one recipient account: no device, and times rounded up to the minute."""

    user_id: UserId
    state: ReceiptState
    at: datetime


class ReceiptStore(Protocol):
    """Decides which recipients show receipts to a sender."""

    async def filter_visible(self, viewer: UserId, members: Collection[MemberKey]) -> set[MemberKey]:
        """The members that show receipts to the viewer.

        They have written in that conversation, or are friends of the viewer; their setting `deliveryReceipts` is not off; neither blocks the other.
        """
        ...


class Receipts:
    """The receipts of an account's posts."""

    def __init__(self, upkeep: MailUpkeep, store: ReceiptStore) -> None:
        self._upkeep = upkeep
        self._store = store

    async def list_receipts(self, viewer: UserId, message_id: MessageId) -> list[CopyStatus | Receipt]:
        """Each copy for a device of the viewer, and one receipt for each other account. Raises NotFound, also for a post of another account."""
        statuses = await self._upkeep.copy_statuses(viewer, message_id)
        if statuses is None:
            raise NotFound
        copies: dict[UserId, list[CopyStatus]] = defaultdict(list)
        own: list[CopyStatus | Receipt] = []
        for status in statuses:
            (own if status.address.user_id == viewer else copies[status.address.user_id]).append(status)
        members = {
            user: {(each.conversation_id or _NO_CONVERSATION, user) for each in some} for user, some in copies.items()
        }
        shown = await self._store.filter_visible(viewer, set().union(*members.values())) if members else set()
        return own + [_receipt(user, some, is_shown=members[user] <= shown) for user, some in copies.items()]


def _receipt(user_id: UserId, copies: Sequence[CopyStatus], *, is_shown: bool) -> Receipt:
    state, at = (
        _combine_states(copies) if is_shown else (ReceiptState.ACCEPTED, min(each.accepted_at for each in copies))
    )
    return Receipt(user_id, state, round_up_to_minute(at))


def _combine_states(copies: Sequence[CopyStatus]) -> tuple[ReceiptState, datetime]:
    """Delivered once one device has it; expired or dropped only when no device can get it any more."""
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


class Writer(NamedTuple):
    """A member that posted to others. After leaving and joining again `joined_at` differs."""

    conversation_id: ConversationId
    user_id: UserId
    joined_at: datetime


class WriterLog:
    """Records once for each member that it has written in a conversation, with the first post that this process accepts.

    Theory: receipts and groups ask whether a member has answered, and no post may pay for it. So each process remembers what it has recorded, and
    writes only others to the database, in one statement for a batch.
    """

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._recorded: set[Writer] = set()
        self._pending: set[Writer] = set()

    async def record(self, writers: Collection[Writer]) -> Collection[Writer]:
        """Record these members, and return those that are new. While the database is down they wait for the next call."""
        self._pending |= {each for each in writers if each not in self._recorded}
        if not self._pending:
            return ()
        recorded = frozenset(self._pending)
        try:
            await self._store.note_writers([(each.conversation_id, each.user_id) for each in recorded])
        except Unavailable:
            return ()
        self._pending -= recorded
        if len(self._recorded) >= _MAX_REMEMBERED:
            self._recorded.clear()
        self._recorded |= recorded
        return recorded
