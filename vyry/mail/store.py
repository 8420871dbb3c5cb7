"""What the mail domain asks of a database. Every method takes a batch; none is called per envelope.

One contract suite (tests/contracts/test_mail_store.py) runs over memory, SQLite and PostgreSQL. When the database is away, every method
raises `Unavailable` within 5 s; after `post` raised it, whether the batch was committed is not known and the same messages may be posted again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol
from uuid import UUID

from vyry.kernel.ids import ConversationId, DeviceAddress, MailboxId, MailboxKey, MessageId, UserId
from vyry.mail.capacity import CapacityRequest, Usage
from vyry.mail.envelope import Lane, LossReason


#: How long the outcome of a post and the fate of its copies are kept.
OUTCOME_DAYS = 30


@dataclass(frozen=True, slots=True)
class MailboxCaps:
    """How much may wait in a mailbox, per lane, tombstones not counted."""

    mail_entries: int = 10_000
    mail_bytes: int = 64 << 20
    control_entries: int = 2_000
    control_bytes: int = 8 << 20
    notice_entries: int = 1_000
    notice_bytes: int = 1 << 20

    def for_lane(self, lane: Lane) -> Usage:
        """What one lane may hold."""
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
    #: Whether it is worth waking a sleeping device for at once.
    is_urgent: bool = True
    #: In whose name it takes room: an account, or the conversation that a notice tells of. None: only the limit of the lane holds.
    quota_owner: UUID | None = None
    #: Whether it is posted in a group of sender and recipients. Of other posts the store finds out whether they come from a stranger.
    is_from_acquaintance: bool = False
    #: Where it was said; None for what the node says.
    conversation_id: ConversationId | None = None

    def capacity_request(self, copy: Copy) -> CapacityRequest:
        """Where this copy asks for room."""
        return CapacityRequest(copy.mailbox, self.lane, self.quota_owner, self.is_from_acquaintance)


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What the web node believed when it checked the posts: device-list epoch by account, version by conversation."""

    epochs: Mapping[UserId, int] = field(default_factory=dict)
    versions: Mapping[ConversationId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outdated:
    """A guard did not hold: nothing of the batch was stored. Load these anew, check again, post again."""

    users: frozenset[UserId]
    conversations: frozenset[ConversationId]


class PostOutcome(NamedTuple):
    """The outcome of one message, as stored with it. `numbers[i]` is the envelope of copy i, None where its mailbox was full."""

    fingerprint: bytes
    accepted_at: datetime
    mailboxes: Sequence[MailboxKey]
    numbers: Sequence[int | None]
    is_repeat: bool


class Deposited(NamedTuple):
    """One envelope that just got its number."""

    mailbox: MailboxKey
    seq: int
    head: bytes
    number: int
    loss_reason: LossReason | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A point of a mailbox."""

    seq: int
    head: bytes


@dataclass(frozen=True, slots=True)
class MailboxState:
    """A mailbox at one moment. `connection` counts the hellos: whoever holds a lower one was displaced."""

    mailbox: MailboxKey
    mailbox_id: MailboxId
    last: Cursor
    acknowledged: Cursor
    connection: int
    is_ended: bool


@dataclass(frozen=True, slots=True)
class ResumeInfo:
    """What a device is told when it comes back: its mailbox, and the message that the store accepted from it last.

    A device that does not know `last_message_id` as its own works with an older copy of its state. None: there was none, or it is older than OUTCOME_DAYS.
    """

    state: MailboxState
    last_message_id: MessageId | None


class CollectRequest(NamedTuple):
    """What one reader can take: entries numbered above `after`, at most `entries` of them and `size` bytes of content (the first always fits)."""

    mailbox: MailboxKey
    after_seq: int
    max_entries: int
    max_bytes: int


class Entry(NamedTuple):
    """One numbered entry: an envelope (`packed`), or what is left of one (`loss`). Past its expiry an envelope reads as Loss.EXPIRED."""

    mailbox: MailboxKey
    seq: int
    head: bytes
    number: int
    loss_reason: LossReason | None
    packed: bytes | None


class Acknowledgement(NamedTuple):
    """A claim by a device: everything up to `seq`, whose head is `head`, is safe with me. `sent` is the highest number its connection was sent."""

    mailbox: MailboxKey
    seq: int
    head: bytes
    sent_seq: int = 0


class CopyState(Enum):
    """What became of one copy."""

    ACCEPTED = "accepted"
    DEPOSITED = "deposited"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "expired"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """The state of one copy and since when, and where and when the message was posted."""

    address: DeviceAddress
    state: CopyState
    since: datetime
    accepted_at: datetime
    #: None for a post that a node of the release before took.
    conversation_id: ConversationId | None = None


class MailStore(Protocol):
    """The truth about mailboxes."""

    #: The rest of this store.
    upkeep: "MailUpkeep"

    async def post(self, messages: Sequence[Message], guards: Preconditions) -> list[PostOutcome] | Outdated:
        """Store all new messages of the batch in one transaction, in the order given; answer known (sender, message_id) with their stored outcome.

        Envelopes are stored unnumbered. Envelope numbers rise with arrival: of two posts, the one invoked after the other was answered has the higher
        numbers, whichever node took them. A copy for which its mailbox has no room (vyry/mail/capacity.py) is skipped; so is one for an ended mailbox.
        When every copy of a message is skipped, it is not stored and its key stays free; its outcome has no numbers.
        Of two messages with one key in the batch, the later is a repeat of the earlier.
        """
        ...

    async def deposit(self, mailboxes: Collection[MailboxKey]) -> list[Deposited]:
        """Number every unnumbered envelope of these mailboxes: next contiguous seq, chained head, in the order of their envelope numbers.

        Expired ones become Loss.EXPIRED (with their own digest), ones over a cap Loss.CAP (with CAP_DIGEST); both lose their content.
        Runs under the locks of the mailbox rows, taken in one order: harmless when repeated or run twice at once. Envelopes of ended mailboxes are deleted.
        """
        ...

    async def open_mailbox(self, mailbox: MailboxKey, after: int, head: bytes | None) -> ResumeInfo:
        """Check a resume point; if it is right, count a hello, note that everything up to it was sent, and answer the state after it.

        Every post of this mailbox's device that was answered before the call is considered for the last message: the newest of them, or a later one.

        Right is: the acknowledged point, or a later stored entry, with its head (at 0 the head may be None). Raises StaleHead with the member
        `cursor` (a `Cursor`: the acknowledged point) when it is wrong, NotFound when the mailbox has ended; nothing changes then.
        """
        ...

    async def record_sent(self, mailbox: MailboxKey, seq: int) -> None:
        """Note that everything up to `seq` was returned to the device by REST. Never goes back."""
        ...

    async def load_states(self, mailboxes: Collection[MailboxKey]) -> list[MailboxState]:
        """The states of those of these mailboxes that exist."""
        ...

    async def collect(self, wants: Sequence[CollectRequest]) -> list[Entry]:
        """Numbered entries for each want, grouped by mailbox, rising by seq, without holes. Several wants name different mailboxes."""
        ...

    async def acknowledge(self, points: Sequence[Acknowledgement]) -> list[Cursor | None]:
        """Delete everything up to each point whose head is right, and move the acknowledged point there.

        Answers, per point, the acknowledged cursor after it; None (nothing changed) for one with a wrong head or beyond what was sent:
        higher than both the point's `sent` and what was noted for the mailbox (`sent`, `open_mailbox`).
        What is expired by now counts as expired and not as acknowledged: its reader was shown a loss.
        A point at or below the acknowledged one changes nothing and is answered with the present cursor. Points of one call name different mailboxes.
        """
        ...

    async def discard(self, mailbox: MailboxKey, seq: int) -> bool:
        """Turn one stored, unacknowledged entry into Loss.PARKED, keeping its head. False if there is no such number. Parking a loss changes nothing."""
        ...


class MailUpkeep(Protocol):
    """What the sweeper, the metrics, a curious sender and a device without a socket ask; off the hot path. Every store offers it as `upkeep`."""

    async def find_unnumbered(self, older_than: datetime, limit: int) -> list[MailboxKey]:
        """Mailboxes with envelopes accepted before that moment and still unnumbered, oldest first."""
        ...

    async def expire(self, now: datetime, limit: int) -> int:
        """Turn at most `limit` numbered envelopes past their expiry into Loss.EXPIRED; answers how many."""
        ...

    async def delete_old_outcomes(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` message outcomes and fates from before that moment; answers how many rows went."""
        ...

    async def copy_statuses(self, account: UserId, message_id: MessageId) -> list[CopyStatus] | None:
        """What became of each copy of a message some device of this account sent; None if there is no such message (any more).

        A copy whose time is up is told as expired, also before the sweeper comes by. Only of its own devices is all of it told to the account (Receipts).
        """
        ...

    async def load_outcomes(
        self, keys: Collection[tuple[MailboxKey, MessageId]]
    ) -> dict[tuple[MailboxKey, MessageId], PostOutcome]:
        """The stored outcomes of those of these (sender, message_id) that were accepted; each `is_repeat`."""
        ...

    async def load_resume_info(self, mailbox: MailboxKey) -> ResumeInfo | None:
        """What `MailStore.open_mailbox` would answer, without a hello; None if there is no such mailbox."""
        ...

    async def measure_backlog(self) -> tuple[int, float]:
        """For the metrics: numbered entries waiting in all mailboxes (an estimate is fine), and the age in seconds of the oldest unnumbered envelope."""
        ...
