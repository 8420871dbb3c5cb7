"""The database of mailboxes, as the mail domain needs it. Every method takes a batch; none is called per envelope.

One contract suite (tests/contracts/test_mail_store_*.py) runs over memory, SQLite and PostgreSQL. While the database is down, every method raises
`Unavailable` within 5 s. After `post` raised it, the outcome is not known: the caller posts the same messages again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, Protocol
from uuid import UUID

from vyry.accounts.events import OperatorAction
from vyry.errors import NotFound, StaleHead
from vyry.kernel.ids import ConversationId, DeviceAddress, MailboxId, MailboxKey, MessageId, UserId
from vyry.mail.capacity import CapacityRequest, Usage
from vyry.mail.envelope import Lane, LossReason


#: How long the outcome of a post and the statuses of its copies are kept.
OUTCOME_DAYS = 30


@dataclass(frozen=True, slots=True)
class MailboxCaps:
    """The caps of a mailbox per lane; losses are not counted."""

    mail_entries: int = 10_000
    mail_bytes: int = 64 << 20
    control_entries: int = 2_000
    control_bytes: int = 8 << 20
    notice_entries: int = 1_000
    notice_bytes: int = 1 << 20

    def for_lane(self, lane: Lane) -> Usage:
        """The caps of one lane."""
        if lane is Lane.MAIL:
            return Usage(self.mail_entries, self.mail_bytes)
        if lane is Lane.CONTROL:
            return Usage(self.control_entries, self.control_bytes)
        return Usage(self.notice_entries, self.notice_bytes)


class Content(NamedTuple):
    """One stored body, shared by `copies` envelopes of a message. `packed` is `Envelope.pack()`; `size` counts the content alone."""

    packed: bytes
    digest: bytes
    size: int
    copies: int


class Copy(NamedTuple):
    """One envelope to be stored: for `mailbox`, of content number `content` of its message."""

    mailbox: MailboxKey
    content: int


class Message(NamedTuple):
    """One accepted post. `sender` is the mailbox of the sending device (0: the node itself); (sender, message_id) is the idempotency key."""

    sender: MailboxKey
    message_id: MessageId
    #: SHA-256 over what makes the body the same body; 32 bytes.
    fingerprint: bytes
    accepted_at: datetime
    expires_at: datetime
    lane: Lane
    contents: Sequence[Content]
    copies: Sequence[Copy]
    #: Whether a device without a socket gets a push at once.
    is_urgent: bool = True
    #: The account whose quota it counts against, or the conversation of a notice. None: only the cap of the lane applies.
    quota_owner: UUID | None = None
    #: Whether it was posted in a group. For other posts the store checks whether the sender is a stranger.
    is_from_acquaintance: bool = False
    #: None for a notice of the node.
    conversation_id: ConversationId | None = None

    def capacity_request(self, copy: Copy) -> CapacityRequest:
        """The capacity that this copy needs."""
        return CapacityRequest(copy.mailbox, self.lane, self.quota_owner, self.is_from_acquaintance)


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The cached state with which the node checked the posts: device-list epoch by account, version by conversation."""

    epochs: Mapping[UserId, int] = field(default_factory=dict)
    versions: Mapping[ConversationId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outdated:
    """A precondition failed and nothing of the batch was stored: load these again, check again, post again."""

    users: frozenset[UserId]
    conversations: frozenset[ConversationId]


class Deposited(NamedTuple):
    """One envelope that just got its seq. `number` is its row key."""

    mailbox: MailboxKey
    seq: int
    head: bytes
    number: int
    loss_reason: LossReason | None


class PostOutcome(NamedTuple):
    """The outcome of one message, as stored with it. `numbers[i]` is the envelope of copy i, None where its mailbox was full."""

    fingerprint: bytes
    accepted_at: datetime
    mailboxes: Sequence[MailboxKey]
    numbers: Sequence[int | None]
    is_repeat: bool
    #: The copies that this post deposited, by their index; the others wait for `MailStore.deposit`.
    deposited: Mapping[int, Deposited] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cursor:
    """A point of a mailbox: all entries up to `seq`."""

    seq: int
    head: bytes


@dataclass(frozen=True, slots=True)
class MailboxState:
    """A mailbox at one moment. `connection` counts the hellos: a socket with a lower number was displaced."""

    mailbox: MailboxKey
    mailbox_id: MailboxId
    last: Cursor
    acknowledged: Cursor
    connection: int
    is_ended: bool


@dataclass(frozen=True, slots=True)
class ResumeInfo:
    """What a device gets when it reconnects: its mailbox, and the last message that the store accepted from it.

    A device that does not know `last_message_id` as its own has restored an older copy of its state. None: it posted nothing within OUTCOME_DAYS.
    """

    state: MailboxState
    last_message_id: MessageId | None


class ResumePoint(NamedTuple):
    """Where the device of a mailbox wants to resume: after `seq`, whose head is `head` (None is allowed at 0)."""

    mailbox: MailboxKey
    seq: int
    head: bytes | None


def resume_refusal(state: MailboxState | None) -> StaleHead | NotFound:
    """Why a resume point of this mailbox (None: there is no such mailbox) was not valid."""
    return NotFound() if state is None or state.is_ended else StaleHead(cursor=state.acknowledged)


class CollectRequest(NamedTuple):
    """Entries with a seq above `after_seq`, at most `max_entries` and `max_bytes` of content (the first entry always fits)."""

    mailbox: MailboxKey
    after_seq: int
    max_entries: int
    max_bytes: int


class Entry(NamedTuple):
    """One entry: an envelope (`packed`), or a loss (`loss_reason`). An expired envelope reads as LossReason.EXPIRED."""

    mailbox: MailboxKey
    seq: int
    head: bytes
    number: int
    loss_reason: LossReason | None
    packed: bytes | None


class Acknowledgement(NamedTuple):
    """The device has stored everything up to `seq`, whose head is `head`. `sent_seq` is the highest seq that its connection was sent."""

    mailbox: MailboxKey
    seq: int
    head: bytes
    sent_seq: int = 0


class CopyState(Enum):
    """The status of one copy."""

    ACCEPTED = "accepted"
    DEPOSITED = "deposited"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "expired"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """The state of one copy and since when; the conversation and the time of the post."""

    address: DeviceAddress
    state: CopyState
    since: datetime
    accepted_at: datetime
    conversation_id: ConversationId | None = None


class DropRequest(NamedTuple):
    """The numbered entries `first` to `last` of a mailbox, for `MailUpkeep.drop`; `includes_notices`: also those that are notices of the node."""

    mailbox: MailboxKey
    first: int
    last: int
    includes_notices: bool = False


class DropResult(NamedTuple):
    """The envelopes that were dropped, and the notices for which nothing was dropped at all."""

    dropped: int
    refused_notices: int = 0


class MailStore(Protocol):
    """The mailboxes."""

    #: The methods of this store off the hot path.
    upkeep: "MailUpkeep"

    async def post(
        self, messages: Sequence[Message], guards: Preconditions, readers: Collection[MailboxKey] = ()
    ) -> list[PostOutcome] | Outdated:
        """Store all new messages of the batch in one transaction, in the order given; answer known (sender, message_id) with their stored outcome.

        The envelopes of mailboxes in `readers` are deposited in the same transaction, exactly as `deposit` does it, unless the mailbox is locked, has ended,
        or has undeposited envelopes: these come first. All other envelopes are stored without a seq. Envelope numbers rise with arrival: a post that starts after another one was answered gets the higher numbers,
        on any node. A copy is skipped when its mailbox has no capacity (vyry/mail/capacity.py) or has ended.
        When every copy of a message is skipped, it is not stored and its key stays free; its outcome has no numbers.
        Of two messages with one key in the batch, the later is a repeat of the earlier.
        """
        ...

    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        """Give every undeposited envelope of these mailboxes the next seq and the chained head, in the order of their envelope numbers.

        Expired ones become LossReason.EXPIRED (with their own digest), ones over a cap LossReason.CAP (with CAP_DIGEST); both lose their content.
        Runs under the locks of the mailbox rows, taken in one order: safe to repeat and to run twice at once. Deletes the envelopes of ended mailboxes.
        """
        ...

    async def open_mailboxes(self, points: Sequence[ResumePoint]) -> list[ResumeInfo | StaleHead | NotFound]:
        """For each valid point: count a hello, record that everything up to it was sent, and return the state after it. Each point names another mailbox.

        Every post of a mailbox's device that was answered before the call is considered for its last message: the newest of them, or a later one.

        Valid is the acknowledged point, or a later stored entry, with its head (at 0 the head may be None). For any other point nothing changes; its
        result is StaleHead with the member `cursor` (a `Cursor`: the acknowledged point), or NotFound if the mailbox has ended.
        """
        ...

    async def record_sent(self, mailbox: MailboxKey, seq: int) -> None:
        """Record that everything up to `seq` was returned to the device by REST. A lower seq changes nothing."""
        ...

    async def load_states(
        self, mailboxes: Collection[MailboxKey], *, sent: Mapping[MailboxKey, int] | None = None
    ) -> list[MailboxState]:
        """The states of these mailboxes, without those that do not exist; with `sent` only those with an entry after this sequence number."""
        ...

    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        """Entries for each request, grouped by mailbox, in the order of seq, without gaps. Each request names another mailbox."""
        ...

    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        """Delete everything up to each point with a valid head, and move the acknowledged point there.

        Returns, per point, the acknowledged cursor after it; None (nothing changed) for a wrong head or a seq that was never sent: higher than both
        `sent_seq` of the point and the seq recorded for the mailbox (`record_sent`, `open_mailboxes`).
        An entry that has expired counts as expired and not as acknowledged, because the device saw a loss.
        A point at or below the acknowledged one changes nothing and gets the current cursor. Each point names another mailbox.
        """
        ...

    async def discard(self, mailbox: MailboxKey, seq: int) -> bool:
        """Turn one unacknowledged entry into LossReason.PARKED and keep its head. False if there is no such seq. A loss stays as it is."""
        ...


class MailUpkeep(Protocol):
    """The methods for the sweeper, the metrics, receipts and REST, off the hot path: `MailStore.upkeep`."""

    async def find_unnumbered(
        self, older_than: datetime, limit: int, *, among: Collection[MailboxKey] | None = None
    ) -> list[MailboxKey]:
        """Mailboxes with undeposited envelopes that were accepted before that moment, oldest first; of `among`, if given, in any order."""
        ...

    async def expire(self, now: datetime, limit: int) -> int:
        """Turn at most `limit` deposited envelopes past their expiry into LossReason.EXPIRED; returns how many."""
        ...

    async def delete_old_outcomes(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` message outcomes and copy statuses from before that moment; returns how many rows."""
        ...

    async def copy_statuses(self, account: UserId, message_id: MessageId) -> list[CopyStatus] | None:
        """The status of each copy of a message that a device of this account sent; None if there is no such message (any more).

        A copy past its expiry is reported as expired, also before the sweeper has run. `Receipts` filters what the account may see of it.
        """
        ...

    async def load_outcomes(
        self, keys: Collection[tuple[MailboxKey, MessageId]]
    ) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
        """The stored outcomes of the accepted ones of these (sender, message_id); each `is_repeat`."""
        ...

    async def load_resume_info(self, mailbox: MailboxKey) -> ResumeInfo | None:
        """What `MailStore.open_mailboxes` would return, without a hello; None if there is no such mailbox."""
        ...

    async def drop(self, request: DropRequest, act: OperatorAction) -> DropResult:
        """Turn the envelopes of a range into LossReason.OPERATOR, and write the line of the audit log, in one transaction.

        Sequence numbers and heads stay; losses, expired and acknowledged entries do too. A notice in the range that the request does not include prevents
        the whole drop. Without a dropped envelope no line is written.
        """
        ...

    async def measure_backlog(self) -> tuple[int, float]:
        """For the metrics: the deposited entries in all mailboxes (an estimate), and the age in seconds of the oldest undeposited envelope."""
        ...
