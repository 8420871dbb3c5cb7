"""A batch of posts as columns: the parameters of one call of mail_post, and the outcomes from its result."""

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from uuid import UUID

from vyry.kernel.ids import MailboxKey, MessageId
from vyry.mail.capacity import CapacityRequest, LaneCapacity
from vyry.mail.envelope import Lane
from vyry.mail.store import Copy, Deposited, MailboxCaps, Message, PostOutcome


Key = tuple[MailboxKey, MessageId]


class PostBatch:
    """The distinct messages of a batch, in order. Copies for full mailboxes can be removed; a message without copies is withheld."""

    def __init__(self, messages: Sequence[Message], readers: Collection[MailboxKey] = ()) -> None:
        self._readers = readers
        self.messages = list({(m.sender, m.message_id): m for m in reversed(messages)}.values())[::-1]
        self.rejected: list[Message] = []
        self._dropped: dict[Key, frozenset[int]] = {}
        self._shares: dict[tuple[MailboxKey, MessageId, MailboxKey], UUID] = {}

    @property
    def has_notice(self) -> bool:
        """Whether the batch has notices of the node."""
        return any(message.lane is Lane.NOTICE for message in self.messages)

    def capacity_requests(self, boxes: Collection[MailboxKey]) -> dict[CapacityRequest, int]:
        """The lanes and senders whose capacity the copies for these mailboxes need, with the size of the largest copy of each."""
        wanted, sizes = frozenset(boxes), dict[CapacityRequest, int]()
        for message in self.messages:
            for copy in message.copies:
                if copy.mailbox in wanted:
                    request = message.capacity_request(copy)
                    sizes[request] = max(sizes.get(request, 0), message.contents[copy.content].size)
        return sizes

    def largest_copies(self) -> tuple[list[MailboxKey], list[int]]:
        """The distinct mailboxes of the batch, and the size of the largest copy of each."""
        sizes: dict[MailboxKey, int] = {}
        for message in self.messages:
            for copy in message.copies:
                sizes[copy.mailbox] = max(sizes.get(copy.mailbox, 0), message.contents[copy.content].size)
        return list(sizes), list(sizes.values())

    def drop_overflow(self, capacities: Mapping[CapacityRequest, LaneCapacity | None], caps: MailboxCaps) -> None:
        """Remove copies that exceed the capacity of their mailboxes (None: the mailbox has ended); note the share in which each other copy counts."""
        kept = []
        for message in self.messages:
            dropped = frozenset(
                i for i, copy in enumerate(message.copies) if not self._fits(message, copy, capacities, caps)
            )
            if dropped and len(dropped) == len(message.copies):
                self.rejected.append(message)
                continue
            self._dropped[message.sender, message.message_id] = dropped
            kept.append(message)
        self.messages = kept

    def _fits(
        self, message: Message, copy: Copy, capacities: Mapping[CapacityRequest, LaneCapacity | None], caps: MailboxCaps
    ) -> bool:
        request = message.capacity_request(copy)
        if request not in capacities:
            return True
        limit, size = caps.for_lane(message.lane), message.contents[copy.content].size
        capacity = capacities[request]
        if capacity is None or not capacity.fits(limit, size):
            return False
        if share := capacity.counted_owner(limit, size):
            self._shares[message.sender, message.message_id, copy.mailbox] = share
        return True

    def columns(self) -> list[Sequence[object]]:
        """The arrays of messages, contents and copies in the order of the parameters of mail_post; then urgency, shares and conversations."""
        messages = self.messages
        ends = list(accumulate(len(m.copies) for m in messages))
        contents: list[tuple[object, ...]] = []
        copies: list[tuple[object, ...]] = []
        for n, message in enumerate(messages, 1):
            dropped = self._dropped.get((message.sender, message.message_id))
            if dropped or len(message.contents) != len(message.copies):
                self._add_shared_contents(n, message, dropped or frozenset(), (contents, copies))
                continue
            for copy in message.copies:
                content = message.contents[copy.content]
                first_copy = len(copies) + 1
                contents.append((n, first_copy, 1, content.packed))
                copies.append((n, copy.mailbox, len(contents), content.digest, content.size))
        return [
            [m.sender for m in messages],
            [m.message_id for m in messages],
            [m.fingerprint for m in messages],
            [m.accepted_at for m in messages],
            [m.expires_at for m in messages],
            [int(m.lane) for m in messages],
            [end - len(m.copies) + 1 for end, m in zip(ends, messages, strict=True)],
            ends,
            *_columns(contents, 4),
            *_columns(copies, 5),
            [m.is_urgent for m in messages],
            self._share_column() if self._shares else [None] * len(copies),
            [m.conversation_id for m in messages],
        ]

    def near_columns(self) -> tuple[list[MailboxKey], list[int]]:
        """The mailboxes of the batch that have a reader, sorted, and for each copy the place of its mailbox among them, from 1 (0: no reader)."""
        found = sorted({copy.mailbox for m in self.messages for copy in m.copies if copy.mailbox in self._readers})
        places = {mailbox: place for place, mailbox in enumerate(found, 1)}
        return found, [places.get(copy.mailbox, 0) for m in self.messages for copy in m.copies] if found else []

    def _share_column(self) -> list[UUID | None]:
        return [self._shares.get((m.sender, m.message_id, copy.mailbox)) for m in self.messages for copy in m.copies]

    def _add_shared_contents(
        self,
        n: int,
        message: Message,
        dropped: frozenset[int],
        rows: tuple[list[tuple[object, ...]], list[tuple[object, ...]]],
    ) -> None:
        """Add a message that has a content with several copies or none."""
        contents, copies = rows
        uses: dict[int, list[int]] = {}
        for i, copy in enumerate(message.copies):
            if i not in dropped:
                uses.setdefault(copy.content, []).append(len(copies) + i + 1)
        content_indexes = {content: len(contents) + i for i, content in enumerate(uses, 1)}
        contents.extend(
            (n, firsts[0], len(firsts), message.contents[content].packed) for content, firsts in uses.items()
        )
        for i, copy in enumerate(message.copies):
            content = message.contents[copy.content]
            content_index = 0 if i in dropped else content_indexes[copy.content]
            copies.append((n, copy.mailbox, content_index, content.digest, content.size))

    def new_outcomes(
        self, numbers: Sequence[int], is_fresh: Sequence[bool], deposited: Mapping[int, Deposited]
    ) -> dict[Key, PostOutcome]:
        """The outcomes of the messages that this call stored; `deposited` by the number of the envelope."""
        found: dict[Key, PostOutcome] = {}
        at = 0
        for message, is_ours in zip(self.messages, is_fresh, strict=True):
            drawn, at = numbers[at : at + len(message.copies)], at + len(message.copies)
            if is_ours:
                boxes = [copy.mailbox for copy in message.copies]
                found[message.sender, message.message_id] = PostOutcome(
                    message.fingerprint,
                    message.accepted_at,
                    boxes,
                    [n or None for n in drawn],
                    is_repeat=False,
                    deposited={i: deposited[n] for i, n in enumerate(drawn) if n in deposited} if deposited else {},
                )
        return found


def merge_outcomes(
    messages: Sequence[Message], stored: Mapping[Key, PostOutcome], known: Mapping[Key, PostOutcome]
) -> list[PostOutcome]:
    """One outcome for each message: stored now, stored before, or not stored because no mailbox has capacity."""
    answered: set[Key] = set()
    found = []
    for message in messages:
        key = message.sender, message.message_id
        outcome = stored.get(key) or known.get(key) or _rejected_outcome(message)
        if key in answered and not outcome.is_repeat and any(outcome.numbers):
            outcome = outcome._replace(is_repeat=True, deposited={})
        answered.add(key)
        found.append(outcome)
    return found


def _rejected_outcome(message: Message) -> PostOutcome:
    boxes = [copy.mailbox for copy in message.copies]
    return PostOutcome(message.fingerprint, message.accepted_at, boxes, [None] * len(boxes), is_repeat=False)


def _columns(rows: list[tuple[object, ...]], width: int) -> list[Sequence[object]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
