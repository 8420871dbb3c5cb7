"""What has to be known before mail is opened: what a conversation is and who is in it, and the verified device lists of those who write."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from vyry.client.chain import Entry
from vyry.client.circles import Circles
from vyry.client.conversation_pins import Pins
from vyry.client.device import Me
from vyry.client.device_lists import KnownDevices
from vyry.client.list_witness import ListWitness
from vyry.client.refusals import Refused, Unreachable
from vyry.client.store import Store
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import ConversationForged


class Lookups:
    """Asks the node for what a page of entries needs and this device does not know."""

    def __init__(self, store: Store, circles: Circles) -> None:
        self._circles = circles
        self._store = store
        self._pins = Pins(store)
        self._known = KnownDevices(store)
        self._witness = ListWitness(store)

    async def prepare(self, entries: Iterable[Entry]) -> None:
        """Ask once for each conversation and account. What the node refuses to say stays unknown. Raises Unreachable: then nothing of the page may be opened."""
        me, letters = Me.of(self._store).user_id, list(_letters(entries))
        for conversation_id in dict.fromkeys(where for where, sender in letters if self._is_open(me, where, sender)):
            with suppress(ConversationForged), _refusals():
                await self._circles.refresh(conversation_id)
        for user_id in dict.fromkeys(sender.user_id for _, sender in letters if self._is_unknown(sender)):
            with _refusals():
                await self._circles.lists.refresh(user_id)

    def _is_open(self, me: UUID, conversation_id: UUID, sender: Address) -> bool:
        pin = self._pins.get(conversation_id)
        if conversation_id == me:
            # That of the account with itself: the node has nothing to say about it.
            return False
        return pin is None or not (sender.user_id == me or pin.admits(sender.user_id))

    def _is_unknown(self, sender: Address) -> bool:
        return self._known.is_new(sender) or self._witness.is_in_doubt(sender.user_id)


@contextmanager
def _refusals() -> Iterator[None]:
    """Around a question that the node may refuse to answer. That it limits the rate decides nothing: Unreachable."""
    try:
        yield
    except Refused as refused:
        if refused.code == "RATE_LIMITED":
            raise Unreachable(str(refused), refused.body.get("retry_after_seconds")) from None


def _letters(entries: Iterable[Entry]) -> Iterator[tuple[UUID, Address]]:
    for entry in entries:
        if "senderId" in entry:
            yield UUID(entry["conversationId"]), Address(UUID(entry["senderId"]), entry["senderDeviceId"])
