"""Deposit and acknowledge on SQLite. Both run in a write transaction, so no other writer interferes."""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from vyry.kernel.chain import next_head
from vyry.kernel.ids import MailboxKey
from vyry.mail.envelope import CAP_DIGEST, Lane, LossReason
from vyry.mail.store import Acknowledgement, CopyState, Cursor, Deposited, MailboxCaps
from vyry.storage.mail_sqlite.rows import (
    RemovedEnvelope,
    count_shares,
    free_capacity,
    json_list,
    record_fates,
    release_contents,
)
from vyry.storage.statements import load_statements


_SQL: Final = load_statements("mail_sqlite/deposit.sql")


@dataclass(slots=True)
class _MailboxCounters:
    """A mailbox during a deposit: its last point, and the waiting entries of each lane."""

    key: MailboxKey
    seq: int
    head: bytes
    entries: list[int]
    sizes: list[int]
    is_ended: bool

    def count_if_fits(self, envelope: RemovedEnvelope, caps: MailboxCaps) -> bool:
        """Count one more envelope, unless its lane is full."""
        lane, size = envelope.lane, envelope.size
        most, largest = caps.for_lane(Lane(lane))
        if self.entries[lane] >= most or self.sizes[lane] + size > largest:
            return False
        self.entries[lane] += 1
        self.sizes[lane] += size
        return True


@dataclass(slots=True)
class DepositRows:
    """The rows that one deposit writes; `boxes` are all its mailboxes."""

    now: int
    caps: MailboxCaps
    boxes: dict[MailboxKey, _MailboxCounters]
    deposited: list[Deposited] = field(default_factory=list)
    expired: list[RemovedEnvelope] = field(default_factory=list)
    dropped: list[RemovedEnvelope] = field(default_factory=list)
    discarded: list[RemovedEnvelope] = field(default_factory=list)
    admitted: list[RemovedEnvelope] = field(default_factory=list)

    def add(self, envelope: RemovedEnvelope, digest: bytes, expires_at: int) -> None:
        """Assign the next sequence number of its mailbox to an envelope or its loss."""
        box, loss = self.boxes[envelope.mailbox], None
        if box.is_ended:
            self.discarded.append(envelope)
            return
        if expires_at <= self.now:
            loss = LossReason.EXPIRED
            self.expired.append(envelope)
        elif not box.count_if_fits(envelope, self.caps):
            loss = LossReason.CAP
            digest = CAP_DIGEST
            self.dropped.append(envelope)
        else:
            self.admitted.append(envelope)
        box.seq += 1
        box.head = next_head(box.head, box.seq, digest)
        self.deposited.append(Deposited(box.key, box.seq, box.head, envelope.number, loss))


def deposit(
    connection: sqlite3.Connection, mailboxes: Collection[MailboxKey], caps: MailboxCaps, now: int
) -> list[Deposited]:
    """See MailStore.deposit."""
    keys = json_list(mailboxes)
    rows = connection.execute(_SQL["select_unnumbered"], [keys]).fetchall()
    if not rows:
        return []
    numbering = DepositRows(now, caps, _load_counters(connection, "select_mailboxes", mailboxes))
    for *columns, digest, expires_at in rows:
        numbering.add(RemovedEnvelope(*columns), digest, expires_at)
    connection.executemany(
        _SQL["number_envelope"],
        [(each.seq, each.head, each.loss_reason, each.number) for each in numbering.deposited],
    )
    write_counters(connection, numbering)
    return numbering.deposited


def start_deposit(
    connection: sqlite3.Connection, mailboxes: Collection[MailboxKey], caps: MailboxCaps, now: int
) -> DepositRows:
    """A deposit of envelopes that are not stored yet: of the mailboxes that have not ended and have no undeposited envelopes."""
    return DepositRows(now, caps, _load_counters(connection, "select_idle_mailboxes", mailboxes) if mailboxes else {})


def _load_counters(
    connection: sqlite3.Connection, name: str, mailboxes: Collection[MailboxKey]
) -> dict[MailboxKey, _MailboxCounters]:
    return {
        key: _MailboxCounters(key, seq, head, counts[0::2], counts[1::2], bool(is_ended))
        for key, seq, head, *counts, is_ended in connection.execute(_SQL[name], [json_list(mailboxes)])
    }


def write_counters(connection: sqlite3.Connection, numbering: DepositRows) -> None:
    """Store what a deposit changes besides its envelopes, which are stored: a trigger of the mailboxes reads them."""
    done = numbering.deposited
    changed = [numbering.boxes[mailbox] for mailbox in dict.fromkeys(each.mailbox for each in done)]
    connection.executemany(
        _SQL["update_mailbox"],
        [
            (box.seq, box.head, *(count[lane] for lane in Lane for count in (box.entries, box.sizes)), box.key)
            for box in changed
        ],
    )
    count_shares(connection, numbering.admitted)
    if lost := numbering.expired + numbering.dropped + numbering.discarded:
        connection.executemany(_SQL["delete_envelope"], [(each.number,) for each in numbering.discarded])
        release_contents(connection, lost)
        record_fates(connection, numbering.expired, CopyState.EXPIRED, numbering.now)
        record_fates(connection, numbering.dropped + numbering.discarded, CopyState.DROPPED, numbering.now)


def acknowledge(connection: sqlite3.Connection, points: Sequence[Acknowledgement], now: int) -> list[Cursor | None]:
    """See MailStore.acknowledge."""
    present: dict[MailboxKey, Cursor] = {}
    right: list[Acknowledgement] = []
    claims = {point.mailbox: point for point in points}
    for key, seq, head, sent, claimed in connection.execute(
        _SQL["select_cursors"], [json_list([(p.mailbox, p.seq) for p in points])]
    ):
        point = claims[key]
        present[key] = Cursor(seq, head)
        if seq < point.seq <= max(point.sent_seq, sent) and claimed == point.head:
            right.append(point)
    forgotten = connection.execute(
        _SQL["delete_acknowledged"], [json_list([(point.mailbox, point.seq) for point in right])]
    )
    late: list[RemovedEnvelope] = []
    read: list[RemovedEnvelope] = []
    for *columns, loss, expires_at in forgotten:
        if loss is None:
            (late if expires_at <= now else read).append(RemovedEnvelope(*columns))
    connection.executemany(_SQL["update_cursor"], [(point.seq, point.head, point.mailbox) for point in right])
    free_capacity(connection, read + late)
    release_contents(connection, read + late)
    record_fates(connection, read, CopyState.ACKNOWLEDGED, now)
    record_fates(connection, late, CopyState.EXPIRED, now)
    present |= {point.mailbox: Cursor(point.seq, point.head) for point in right}
    return [_cursor_for(point, present.get(point.mailbox)) for point in points]


def _cursor_for(point: Acknowledgement, present: Cursor | None) -> Cursor | None:
    return present if present is not None and point.seq <= present.seq else None
