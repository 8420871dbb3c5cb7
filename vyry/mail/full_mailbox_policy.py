"""What a sender learns of full mailboxes.

Theory: a full mailbox has capacity again when its device has acknowledged something, that is when it woke. A sender that may not know that
(vyry/mail/receipts.py) does not see which copies were skipped while others were stored. When all its copies were skipped, its posts are refused for an
hour whatever capacity there is: repeating shows no more than the hour. Each process remembers its own refusals.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from vyry.clock import Clock
from vyry.errors import Unavailable
from vyry.kernel.ids import ConversationId, DeviceAddress, UserId
from vyry.mail.draft import CheckedDraft, copy_addresses
from vyry.mail.receipts import MemberKey, ReceiptStore


#: How long posts of a stranger are refused after all copies of one were skipped.
REFUSAL_PERIOD: Final = timedelta(hours=1)
#: The most refusals that a process remembers.
_MAX_REFUSALS: Final = 50_000


class FullMailboxPolicy:
    """Decides which skipped copies the sender sees, and which senders are refused."""

    def __init__(self, store: ReceiptStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._refused_until: dict[MemberKey, datetime] = {}

    def is_refused(self, checked: CheckedDraft) -> bool:
        """Whether posts of this account to others in this conversation are refused now."""
        own = checked.sender.user_id
        until = self._refused_until.get((ConversationId(checked.draft.conversation_id), own))
        return until is not None and checked.users != {own} and self._clock.confirmed_now() < until

    def clear_refusals(self, conversation_id: ConversationId) -> None:
        """A member has written in this conversation: senders that were refused there may try again."""
        for member in [each for each in self._refused_until if each[0] == conversation_id]:
            del self._refused_until[member]

    async def visible_skips(self, checked: CheckedDraft, numbers: Sequence[int | None]) -> list[DeviceAddress]:
        """The skipped copies that the sender sees."""
        if None not in numbers:
            return []
        # From the body itself: for a repeat the device may be in no device list any more.
        copies = list(zip(copy_addresses(checked.draft), numbers, strict=True))
        skipped = [address for address, number in copies if number is None]
        own, key = checked.sender.user_id, ConversationId(checked.draft.conversation_id)
        hidden = await self._hidden_users(own, key, {address.user_id for address in skipped} - {own})
        if not hidden:
            return skipped
        if any(number for address, number in copies if address.user_id != own):
            return [address for address in skipped if address.user_id not in hidden]
        self._record_refusal((key, own))
        return skipped

    async def _hidden_users(self, viewer: UserId, key: ConversationId, users: set[UserId]) -> set[UserId]:
        try:
            shown = await self._store.filter_visible(viewer, [(key, user) for user in users]) if users else set()
        except Unavailable:
            return users
        return users - {user for _, user in shown}

    def _record_refusal(self, place: MemberKey) -> None:
        # By the confirmed time: a clock that was ahead extends no refusal.
        now = self._clock.confirmed_now()
        if self._refused_until.get(place, now) > now:
            return
        self._refused_until.pop(place, None)
        self._refused_until[place] = now + REFUSAL_PERIOD
        if len(self._refused_until) > _MAX_REFUSALS:
            del self._refused_until[next(iter(self._refused_until))]
