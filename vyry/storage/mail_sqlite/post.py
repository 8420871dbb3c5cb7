"""Post on SQLite: three statements write a batch of any size."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import orjson

from vyry.kernel.batches import batched
from vyry.kernel.ids import ConversationId, MailboxKey, MessageId, UserId
from vyry.kernel.time import from_milliseconds, to_milliseconds
from vyry.mail.capacity import STRANGERS_OWNER, CapacityRequest, LaneCapacity, Usage
from vyry.mail.store import MailboxCaps, Message, Outdated, PostOutcome, Preconditions
from vyry.storage.mail_batch import IS_ACQUAINTANCE, Key, PostBatch
from vyry.storage.mail_sqlite.rows import json_list, pack_numbers, unpack_numbers


#: Every SQLite accepts so many in one statement.
_KEYS_AT_ONCE: Final = 400
#: With the cross join SQLite looks up each key; for `IN (VALUES ...)` it would read the whole table.
_OUTCOMES: Final = """
WITH k (sender, message_id) AS (VALUES {})
SELECT m.sender, m.message_id, m.fingerprint, m.accepted_at, m.mailboxes, m.numbers
FROM k CROSS JOIN message m WHERE m.sender = k.sender AND m.message_id = k.message_id"""
_EPOCHS: Final = "SELECT id, device_list_epoch FROM account WHERE id IN (SELECT value FROM json_each(?))"
_VERSIONS: Final = "SELECT id, version FROM conversation WHERE id IN (SELECT value FROM json_each(?))"
_LAST_NUMBER: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'envelope'"
_MAILBOX_COUNTERS: Final = """
SELECT id, mail_entries, mail_bytes, control_entries, control_bytes, notice_entries, notice_bytes FROM mailbox
WHERE id IN (SELECT value FROM json_each(?)) AND NOT is_ended"""
#: Parameter: a list of [mailbox, lane, account, is_near].
_SHARES: Final = f"""
SELECT w.n, w.share, coalesce(s.entries, 0), coalesce(s.size, 0)
FROM (
  SELECT k.n, k.mailbox, k.lane, CASE WHEN k.account IS NULL OR k.account = d.account_id THEN NULL WHEN k.is_near OR {IS_ACQUAINTANCE} THEN k.account ELSE :strangers END AS share
  FROM (
    SELECT p.key AS n, json_extract(p.value, '$[0]') AS mailbox, json_extract(p.value, '$[1]') AS lane,
      json_extract(p.value, '$[2]') AS account, json_extract(p.value, '$[3]') AS is_near FROM json_each(:places) p
  ) k LEFT JOIN device d ON d.mailbox = k.mailbox
) w LEFT JOIN mailbox_share s ON s.mailbox = w.mailbox AND s.share = w.share AND s.lane = w.lane"""
#: There is one writer, so the number of the last message of the sender plus one is exact.
_MESSAGE: Final = """
INSERT INTO message (sender, message_id, fingerprint, accepted_at, mailboxes, numbers, conversation_id, ordinal)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT coalesce(max(ordinal), 0) + 1 FROM message WHERE sender = ?1))"""
_CONTENT: Final = "INSERT INTO content (id, copies, packed) VALUES (?, ?, ?)"
_ENVELOPE: Final = """
INSERT INTO envelope (id, mailbox, content, digest, size, share, lane, expires_at, accepted_at, is_urgent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

#: An unknown or ended mailbox has no capacity.
Capacities = dict[CapacityRequest, LaneCapacity]


def post(
    connection: sqlite3.Connection, messages: Sequence[Message], guards: Preconditions, caps: MailboxCaps
) -> list[PostOutcome] | Outdated:
    """See MailStore.post; runs in a write transaction."""
    outdated = _find_outdated(connection, guards)
    if outdated.users or outdated.conversations:
        return outdated
    batch = _PostRows(
        connection.execute(_LAST_NUMBER).fetchone()[0],
        _load_capacities(connection, PostBatch(messages), caps),
        caps,
    )
    before = load_outcomes(connection, [(message.sender, message.message_id) for message in messages])
    outcomes = [
        batch.find_repeat(each) or before.get((each.sender, each.message_id)) or batch.add(each) for each in messages
    ]
    connection.executemany(_MESSAGE, batch.messages)
    connection.executemany(_CONTENT, batch.contents)
    connection.executemany(_ENVELOPE, batch.envelopes)
    return outcomes


def _find_outdated(connection: sqlite3.Connection, guards: Preconditions) -> Outdated:
    users: set[UserId] = set()
    conversations: set[ConversationId] = set()
    if guards.epochs:
        epochs = dict(connection.execute(_EPOCHS, [json_list(map(str, guards.epochs))]))
        users = {user for user, epoch in guards.epochs.items() if epochs.get(str(user)) != epoch}
    if guards.versions:
        versions = dict(connection.execute(_VERSIONS, [json_list(map(str, guards.versions))]))
        conversations = {each for each, version in guards.versions.items() if versions.get(str(each)) != version}
    return Outdated(frozenset(users), frozenset(conversations))


def _load_capacities(connection: sqlite3.Connection, batch: PostBatch, caps: MailboxCaps) -> Capacities:
    boxes, _ = batch.largest_copies()
    lanes = {key: held for key, *held in connection.execute(_MAILBOX_COUNTERS, [json_list(boxes)])}
    asked = batch.capacity_requests(lanes)
    rooms = {place: LaneCapacity(Usage(*lanes[place.mailbox][2 * place.lane : 2 * place.lane + 2])) for place in asked}
    # In a nearly empty lane there is no limit by sender.
    busy = [place for place, size in asked.items() if not rooms[place].is_nearly_empty(caps.for_lane(place.lane), size)]
    if busy:
        places = orjson.dumps([list(place) for place in busy]).decode()
        for n, share, *held in connection.execute(_SHARES, {"places": places, "strangers": str(STRANGERS_OWNER)}):
            rooms[busy[n]] = LaneCapacity(rooms[busy[n]].lane_usage, share and UUID(share), Usage(*held))
    return rooms


def load_outcomes(connection: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, PostOutcome]:
    """The stored outcomes of the messages that were accepted before."""
    found: dict[Key, PostOutcome] = {}
    for some in batched(keys, _KEYS_AT_ONCE):
        values = ", ".join(["(?, ?)"] * len(some))
        parameters = [part for sender, message_id in some for part in (sender, message_id.bytes)]
        for sender, message_id, fingerprint, accepted_at, mailboxes, numbers in connection.execute(
            _OUTCOMES.format(values), parameters
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
    rooms: Capacities
    caps: MailboxCaps
    messages: list[tuple[object, ...]] = field(default_factory=list)
    contents: list[tuple[int, int, bytes]] = field(default_factory=list)
    envelopes: list[tuple[object, ...]] = field(default_factory=list)
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
        facts = int(message.lane), to_milliseconds(message.expires_at), accepted_at, message.is_urgent
        for copy in message.copies:
            content, limit = message.contents[copy.content], self.caps.for_lane(message.lane)
            room = self.rooms.get(message.capacity_request(copy))
            if room is None or not room.fits(limit, content.size):
                numbers.append(None)
                continue
            share = room.counted_owner(limit, content.size)
            self.last_number = number = self.last_number + 1
            first = first_of.setdefault(copy.content, number)
            copies[copy.content] += 1
            whose = share and str(share)
            self.envelopes.append((number, copy.mailbox, first, content.digest, content.size, whose, *facts))
            numbers.append(number)
        self.contents += [(first, copies[at], message.contents[at].packed) for at, first in first_of.items()]
        return numbers
