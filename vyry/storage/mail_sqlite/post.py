"""Post on SQLite: three statements write a batch of any size."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import orjson

from vyry.kernel.batches import batched
from vyry.kernel.ids import ConversationId, MailboxKey, MessageId, UserId
from vyry.kernel.time import from_milliseconds, to_milliseconds
from vyry.mail.capacity import STRANGERS_OWNER, CapacityRequest, LaneCapacity, Usage
from vyry.mail.store import MailboxCaps, Message, Outdated, PostOutcome, Preconditions
from vyry.storage.mail_batch import Key, PostBatch
from vyry.storage.mail_sqlite.deposit import start_deposit, write_counters
from vyry.storage.mail_sqlite.rows import RemovedEnvelope, json_list, pack_numbers, unpack_numbers
from vyry.storage.statements import load_statements


_SQL: Final = load_statements("mail_sqlite/post.sql")
#: Every SQLite accepts so many in one statement.
_KEYS_AT_ONCE: Final = 400

#: An envelope with its digest, its expiry, and when it was accepted and whether it is urgent.
_EnvelopeRow = tuple[RemovedEnvelope, bytes, int, tuple[int, bool]]
_UNDEPOSITED: Final = (None, None, None)

#: An unknown or ended mailbox has no capacity.
Capacities = dict[CapacityRequest, LaneCapacity]


@dataclass(frozen=True, slots=True)
class PostRequest:
    """The parameters of MailStore.post, and the time."""

    messages: Sequence[Message]
    guards: Preconditions
    readers: Collection[MailboxKey]
    now: int


def post(connection: sqlite3.Connection, request: PostRequest, caps: MailboxCaps) -> list[PostOutcome] | Outdated:
    """See MailStore.post; runs in a write transaction."""
    messages, guards = request.messages, request.guards
    outdated = _find_outdated(connection, guards)
    if outdated.users or outdated.conversations:
        return outdated
    batch = _PostRows(
        connection.execute(_SQL["select_last_number"]).fetchone()[0],
        _load_capacities(connection, PostBatch(messages), caps),
        caps,
    )
    before = load_outcomes(connection, [(message.sender, message.message_id) for message in messages])
    outcomes = [
        batch.find_repeat(each) or before.get((each.sender, each.message_id)) or batch.add(each) for each in messages
    ]
    connection.executemany(_SQL["insert_message"], batch.messages)
    connection.executemany(_SQL["insert_content"], batch.contents)
    return _store_envelopes(connection, batch, request, outcomes)


def _store_envelopes(
    connection: sqlite3.Connection, batch: "_PostRows", request: PostRequest, outcomes: list[PostOutcome]
) -> list[PostOutcome]:
    """Store the envelopes, those of readers deposited; the outcomes name these."""
    near = {envelope.mailbox for envelope, *_ in batch.envelopes if envelope.mailbox in request.readers}
    deposit = start_deposit(connection, near, batch.caps, request.now)
    for envelope, digest, expires_at, _ in batch.envelopes:
        if envelope.mailbox in deposit.boxes:
            deposit.add(envelope, digest, expires_at)
    done = {each.number: each for each in deposit.deposited}
    connection.executemany(
        _SQL["insert_envelope"],
        [
            (
                *_columns(row),
                *((given.seq, given.head, given.loss_reason) if (given := done.get(row[0].number)) else _UNDEPOSITED),
            )
            for row in batch.envelopes
        ],
    )
    if not done:
        return outcomes
    write_counters(connection, deposit)
    return [
        each
        if each.is_repeat
        else each._replace(deposited={i: done[number] for i, number in enumerate(each.numbers) if number in done})
        for each in outcomes
    ]


def _columns(row: "_EnvelopeRow") -> tuple[object, ...]:
    envelope, digest, expires_at, (accepted_at, is_urgent) = row
    place = envelope.number, envelope.mailbox, envelope.content
    return (*place, digest, envelope.size, envelope.share, envelope.lane, expires_at, accepted_at, is_urgent)


def _find_outdated(connection: sqlite3.Connection, guards: Preconditions) -> Outdated:
    users: set[UserId] = set()
    conversations: set[ConversationId] = set()
    if guards.epochs:
        epochs = dict(connection.execute(_SQL["select_epochs"], [json_list(map(str, guards.epochs))]))
        users = {user for user, epoch in guards.epochs.items() if epochs.get(str(user)) != epoch}
    if guards.versions:
        versions = dict(connection.execute(_SQL["select_versions"], [json_list(map(str, guards.versions))]))
        conversations = {each for each, version in guards.versions.items() if versions.get(str(each)) != version}
    return Outdated(frozenset(users), frozenset(conversations))


def _load_capacities(connection: sqlite3.Connection, batch: PostBatch, caps: MailboxCaps) -> Capacities:
    boxes, _ = batch.largest_copies()
    lanes = {key: held for key, *held in connection.execute(_SQL["select_lane_usage"], [json_list(boxes)])}
    sizes = batch.capacity_requests(lanes)
    capacities = {
        request: LaneCapacity(Usage(*lanes[request.mailbox][2 * request.lane : 2 * request.lane + 2]))
        for request in sizes
    }
    # In a nearly empty lane there is no limit by sender.
    limited = [
        request
        for request, size in sizes.items()
        if not capacities[request].is_nearly_empty(caps.for_lane(request.lane), size)
    ]
    if limited:
        requests = orjson.dumps([list(request) for request in limited]).decode()
        for n, share, *held in connection.execute(
            _SQL["select_shares"], {"requests": requests, "strangers": str(STRANGERS_OWNER)}
        ):
            capacities[limited[n]] = LaneCapacity(
                capacities[limited[n]].lane_usage, share and UUID(share), Usage(*held)
            )
    return capacities


def load_outcomes(connection: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, PostOutcome]:
    """The stored outcomes of the messages that were accepted before."""
    found: dict[Key, PostOutcome] = {}
    for some in batched(keys, _KEYS_AT_ONCE):
        values = ", ".join(["(?, ?)"] * len(some))
        parameters = [part for sender, message_id in some for part in (sender, message_id.bytes)]
        for sender, message_id, fingerprint, accepted_at, mailboxes, numbers in connection.execute(
            _SQL["select_outcomes"].format(keys=values), parameters
        ):
            found[sender, MessageId(UUID(bytes=message_id))] = PostOutcome(
                fingerprint,
                from_milliseconds(accepted_at),
                [MailboxKey(key) for key in unpack_numbers(mailboxes)],
                [number or None for number in unpack_numbers(numbers)],
                is_repeat=True,
            )
    return found


@dataclass(slots=True)
class _PostRows:
    """The rows to write. A content is stored under the number of its first copy, so it needs no counter."""

    last_number: int
    capacities: Capacities
    caps: MailboxCaps
    messages: list[tuple[object, ...]] = field(default_factory=list)
    contents: list[tuple[int, int, bytes]] = field(default_factory=list)
    envelopes: list[_EnvelopeRow] = field(default_factory=list)
    _outcomes: dict[Key, PostOutcome] = field(default_factory=dict)

    def find_repeat(self, message: Message) -> PostOutcome | None:
        """The outcome of an earlier message of this batch with the same key, if any."""
        first = self._outcomes.get((message.sender, message.message_id))
        return None if first is None else first._replace(is_repeat=True)

    def add(self, message: Message) -> PostOutcome:
        """Add the rows of the copies that fit. If none fits, no row is added and the key stays unused."""
        accepted_at = to_milliseconds(message.accepted_at)
        mailboxes = [copy.mailbox for copy in message.copies]
        numbers = self._number(message, accepted_at)
        stored = PostOutcome(message.fingerprint, from_milliseconds(accepted_at), mailboxes, numbers, is_repeat=False)
        if mailboxes and not any(numbers):
            return stored
        self.messages.append(
            (
                message.sender,
                message.message_id.bytes,
                message.fingerprint,
                accepted_at,
                pack_numbers(mailboxes),
                pack_numbers([number or 0 for number in numbers]),
                message.conversation_id and message.conversation_id.bytes,
            )
        )
        self._outcomes[message.sender, message.message_id] = stored
        return stored

    def _number(self, message: Message, accepted_at: int) -> list[int | None]:
        numbers: list[int | None] = []
        first_of: dict[int, int] = {}
        copies: Counter[int] = Counter()
        lane, expires_at = int(message.lane), to_milliseconds(message.expires_at)
        for copy in message.copies:
            content, limit = message.contents[copy.content], self.caps.for_lane(message.lane)
            capacity = self.capacities.get(message.capacity_request(copy))
            if capacity is None or not capacity.fits(limit, content.size):
                numbers.append(None)
                continue
            share = capacity.counted_owner(limit, content.size)
            self.last_number = number = self.last_number + 1
            first = first_of.setdefault(copy.content, number)
            copies[copy.content] += 1
            owner = None if share is None else str(share)
            envelope = RemovedEnvelope(number, copy.mailbox, first, lane, content.size, owner)
            self.envelopes.append((envelope, content.digest, expires_at, (accepted_at, message.is_urgent)))
            numbers.append(number)
        self.contents += [(first, copies[at], message.contents[at].packed) for at, first in first_of.items()]
        return numbers
