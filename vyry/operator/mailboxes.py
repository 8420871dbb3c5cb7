"""What operators see of one mailbox, and what they release in it. Nothing is measured for that while mail flows: every fact is read when it is asked for.

`MailUpkeep.drop` drops entries; mailbox_reasons.py says why nothing comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from vyry.accounts.events import OperatorAction
from vyry.errors import NotFound
from vyry.kernel.ids import MailboxKey, UserId
from vyry.kernel.time import from_milliseconds
from vyry.mail.envelope import Lane, LossReason
from vyry.mail.work_record import partition_of
from vyry.operator.audit import record_action
from vyry.operator.push_details import PushDetails, load_push_details
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.partition_models import PartitionRow
from vyry.storage.partitions import PartitionStore
from vyry.storage.raw_sql import fetch, to_date, to_datetime, to_optional_datetime, to_uuid


_DEVICE_COLUMNS: Final = """
    SELECT d.id, d.account_id, d.device_id, d.mailbox, d.mailbox_id, d.platform, d.registration_id, d.linked_at, d.last_seen_on, d.ended_at,
        a.suspended_at
    FROM device d LEFT JOIN account a ON a.id = d.account_id"""
_BY_MAILBOX: Final = f"{_DEVICE_COLUMNS} WHERE d.mailbox_id = $1"
#: A device number is given once, but a device that ended keeps its row for a month.
_BY_NUMBER: Final = f"{_DEVICE_COLUMNS} WHERE d.account_id = $1 AND d.device_id = $2 ORDER BY d.linked_at DESC LIMIT 1"
_MAILBOX: Final = """
    SELECT seq, acknowledged_seq, sent_seq, connection, is_ended, mail_entries, mail_bytes, control_entries, control_bytes, notice_entries,
        notice_bytes FROM mailbox WHERE id = $1"""
_ENVELOPES: Final = """
    SELECT loss, CASE WHEN seq IS NULL THEN 1 ELSE 0 END AS is_unnumbered, count(*) AS entries, min(accepted_at) AS oldest, min(seq) AS first, max(seq) AS last
    FROM envelope WHERE mailbox = $1 GROUP BY 1, 2"""
#: An acknowledgement writes one row for its envelopes. Rows are kept for 30 days.
_ACKNOWLEDGED: Final = "SELECT max(at) AS at FROM fate WHERE mailbox = $1 AND state = 1"
_DEFERRED: Final = "SELECT count(*) AS notices FROM held_notice WHERE mailbox = $1"
_RETRY_NOTICES: Final = (
    "UPDATE held_notice SET try_at = $2 WHERE mailbox = $1 AND (try_at IS NULL OR try_at > $2) RETURNING id"
)
_WAKE_NOW: Final = """
    UPDATE push_wake SET due_at = $2, rest_until = NULL, attempts = 0 WHERE device = $1 AND (due_at IS NULL OR due_at > $2 OR attempts > 0)
        AND EXISTS (SELECT 1 FROM push_target t WHERE t.device = push_wake.device)
        AND EXISTS (SELECT 1 FROM mailbox m WHERE m.id = push_wake.mailbox AND m.seq > m.acknowledged_seq AND NOT m.is_ended) RETURNING device"""
#: Due at once; the trigger of the table writes the same value.
_NOW: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device, ended or not, and its mailbox."""

    device: UUID
    account_id: UUID
    number: int
    mailbox: MailboxKey
    mailbox_id: UUID
    platform: str
    has_keys: bool
    linked_at: datetime
    last_seen_on: str
    ended_at: datetime | None
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """The envelopes that wait in a lane; losses are not counted."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WaitingEntries:
    """Entries of one kind: how many, when the oldest was accepted, the lowest and the highest sequence number (None without a number)."""

    entries: int
    oldest_at: datetime
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxDetails:
    """A mailbox as the database has it."""

    device: DeviceRecord
    lanes: Mapping[Lane, LaneDepth]
    last_seq: int
    acknowledged_seq: int
    #: The highest sequence number that REST returned or a valid hello named.
    returned_seq: int
    #: How often the device said hello.
    hellos: int
    is_ended: bool
    #: Envelopes with a sequence number, those without one, and losses that the device has not acknowledged.
    numbered: WaitingEntries | None = None
    unnumbered: WaitingEntries | None = None
    losses: Mapping[LossReason, WaitingEntries] = field(default_factory=dict)
    #: None: no envelope in the last 30 days.
    last_acknowledged_at: datetime | None
    deferred_notices: int
    #: None: the partitions are not known yet.
    partition: int | None
    partition_owner: str | None
    push: PushDetails
    #: A node has another time than the others and deletes nothing for good.
    is_clock_in_doubt: bool


async def find_device(account: UserId, number: int) -> DeviceRecord:
    """The device with this number. Raises NotFound, Unavailable."""
    async with database_guard():
        return _device(await fetch(connection(), _BY_NUMBER, account, number))


async def find_mailbox(mailbox_id: UUID) -> DeviceRecord:
    """The device with this mailbox. Raises NotFound, Unavailable."""
    async with database_guard():
        return _device(await fetch(connection(), _BY_MAILBOX, mailbox_id))


async def load_mailbox(device: DeviceRecord) -> MailboxDetails:
    """All that the database knows of a mailbox, except who sent what. Raises NotFound, Unavailable."""
    partition, owner = await _partition(device.mailbox)
    push, clock = await load_push_details(device.device), await TortoiseClock().read()
    async with database_guard():
        rows = await fetch(connection(), _MAILBOX, device.mailbox)
        envelopes = await fetch(connection(), _ENVELOPES, device.mailbox)
        (acknowledged,) = await fetch(connection(), _ACKNOWLEDGED, device.mailbox)
        (deferred,) = await fetch(connection(), _DEFERRED, device.mailbox)
    if not rows:
        raise NotFound
    row = rows[0]
    found = {(bool(each["is_unnumbered"]), each["loss"]): _waiting(each) for each in envelopes}
    return MailboxDetails(
        device=device,
        lanes={lane: _depth(row, lane) for lane in Lane},
        last_seq=row["seq"],
        acknowledged_seq=row["acknowledged_seq"],
        returned_seq=row["sent_seq"],
        hellos=row["connection"],
        is_ended=bool(row["is_ended"]),
        numbered=found.get((False, None)),
        unnumbered=found.get((True, None)),
        losses={LossReason(loss): entries for (_, loss), entries in found.items() if loss is not None},
        last_acknowledged_at=None if acknowledged["at"] is None else _moment(acknowledged["at"]),
        deferred_notices=deferred["notices"],
        partition=partition,
        partition_owner=owner,
        push=push,
        is_clock_in_doubt=clock.claimed_at is not None,
    )


async def release_waiting(device: DeviceRecord, act: OperatorAction) -> tuple[int, bool]:
    """Make due now what waits for a time: deferred notices, and the wake-up of a device with mail. Returns the notices, and whether there was a wake-up. Logs what changed.

    What the device has discarded has no content any more, and stays a loss. Raises Unavailable.
    """
    async with transaction() as tx:
        notices = await fetch(tx, _RETRY_NOTICES, device.mailbox, _NOW)
        wakes = await fetch(tx, _WAKE_NOW, device.device, act.at)
        if notices or wakes:
            await record_action(tx, act)
    return len(notices), bool(wakes)


async def _partition(mailbox: MailboxKey) -> tuple[int | None, str | None]:
    known = await PartitionStore().read_map()
    if known is None:
        return None, None
    number = partition_of(mailbox, known.partitions)
    async with database_guard():
        row = await PartitionRow.get_or_none(number=number)
    return number, row.owner if row else None


def _device(rows: list[dict[str, Any]]) -> DeviceRecord:
    if not rows:
        raise NotFound
    row = rows[0]
    return DeviceRecord(
        to_uuid(row["id"]),
        to_uuid(row["account_id"]),
        row["device_id"],
        MailboxKey(row["mailbox"]),
        to_uuid(row["mailbox_id"]),
        row["platform"],
        row["registration_id"] is not None,
        to_datetime(row["linked_at"]),
        to_date(row["last_seen_on"]).isoformat(),
        to_optional_datetime(row["ended_at"]),
        to_optional_datetime(row["suspended_at"]),
    )


def _depth(row: dict[str, Any], lane: Lane) -> LaneDepth:
    name = lane.name.lower()
    return LaneDepth(row[f"{name}_entries"], row[f"{name}_bytes"])


def _waiting(row: dict[str, Any]) -> WaitingEntries:
    return WaitingEntries(row["entries"], _moment(row["oldest"]), row["first"], row["last"])


def _moment(value: Any) -> datetime:
    """A moment of the mail tables, which are milliseconds on SQLite."""
    return from_milliseconds(value) if isinstance(value, int) else to_datetime(value)
