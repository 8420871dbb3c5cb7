"""Published keys and device lists.

Theory: a transaction that changes keys or devices of an account locks the account first, then device, key set and one-time prekeys in this order. So claims,
uploads and the end of a device run one after the other on all nodes, without deadlock.
A one-time prekey is claimed by one DELETE ... RETURNING, committed before the response: a crash may lose it, but it is never handed out twice.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.account import Caller
from vyry.devices.device_lists import ListedDevice, Recipient
from vyry.devices.keyset import (
    AccountKeys,
    Bundle,
    ClaimResult,
    DeviceKeys,
    HighestIds,
    Identity,
    KeyRefill,
    KeyState,
    KeyUpload,
    OneTimePrekey,
    SignedPrekey,
    Suite,
)
from vyry.devices.prekeys import (
    Relationship,
    check_new_ids,
    check_registration_id,
    check_unused_count,
    crosses_low_water,
)
from vyry.errors import IdentityMismatch, InvalidKeys, InvalidToken, NotFound
from vyry.kernel.ids import DeviceId, MailboxKey, UserId
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.models import KeySetRow, OneTimePrekeyRow
from vyry.storage.notice_outbox import enqueue_devices_changed
from vyry.storage.raw_sql import fetch, to_datetime, to_uuid
from vyry.storage.relationships import ACQUAINTED, IS_BLOCKED, SHARE_GROUP


Row = dict[str, Any]

_LOCK_ACCOUNT = """
    UPDATE account SET device_list_epoch = device_list_epoch WHERE id = $1 AND deleted_at IS NULL
    RETURNING device_list_epoch, identity_key, suite"""
_LOCK_ACCOUNT_UNDER = """
    UPDATE account SET identity_key = COALESCE(identity_key, $2), suite = COALESCE(suite, $3)
    WHERE id = $1 AND (identity_key IS NULL OR identity_key = $2) RETURNING id"""
_RAISE_EPOCH = "UPDATE account SET device_list_epoch = device_list_epoch + 1 WHERE id = $1 RETURNING device_list_epoch"
_LIVE_DEVICE = "SELECT id, device_id, registration_id, is_primary FROM device WHERE mailbox = $1 AND ended_at IS NULL"
_OTHER_WITH_KEYS = (
    "SELECT 1 FROM device WHERE account_id = $1 AND mailbox <> $2 AND registration_id IS NOT NULL LIMIT 1"
)
_EARLIER_REGISTRATIONS = """
    SELECT registration_id FROM device WHERE account_id = $1 AND device_id = $2 AND mailbox <> $3 AND registration_id IS NOT NULL"""
_REGISTER = "UPDATE device SET registration_id = $2 WHERE mailbox = $1"
_IDENTITY = """
    SELECT k.suite, a.identity_key, k.identity_dh_key, k.identity_dh_signature
    FROM key_set k JOIN device d ON d.mailbox = k.mailbox JOIN account a ON a.id = d.account_id
    WHERE k.mailbox = $1 AND a.identity_key IS NOT NULL"""
_STATE = """
    SELECT k.signed_prekey_id, k.signed_prekey_at, k.last_resort_uses, k.issued_through_one_time, k.issued_through_pq,
           p.kind, p.key_id, p.public_key
    FROM key_set k LEFT JOIN one_time_prekey p ON p.mailbox = k.mailbox WHERE k.mailbox = $1 ORDER BY p.kind, p.key_id"""
_RELATIONSHIP = f"""
    SELECT {IS_BLOCKED} AND NOT {SHARE_GROUP} AS is_hidden,
           EXISTS (SELECT 1 FROM friend WHERE account_id = $1 AND friend_id = $2) AS is_friend,
           {ACQUAINTED} AS is_acquainted"""
_KEYS = """
    SELECT a.id, a.suite AS account_suite, a.identity_key, a.device_list_epoch, d.device_id, d.registration_id,
           k.suite, k.identity_dh_key, k.identity_dh_signature
    FROM account a
    LEFT JOIN (device d JOIN key_set k ON k.mailbox = d.mailbox)
           ON d.account_id = a.id AND d.ended_at IS NULL AND d.registration_id IS NOT NULL
    WHERE a.id = $1 AND a.deleted_at IS NULL ORDER BY d.device_id"""
_CLAIMABLE = """
    SELECT d.device_id, d.registration_id, k.*,
           (SELECT count(*) FROM one_time_prekey p WHERE p.mailbox = k.mailbox AND p.kind = 'ec') AS one_time_count,
           (SELECT count(*) FROM one_time_prekey p WHERE p.mailbox = k.mailbox AND p.kind = 'pq') AS pq_count
    FROM device d JOIN key_set k ON k.mailbox = d.mailbox
    WHERE d.account_id = $1 AND d.ended_at IS NULL AND d.registration_id IS NOT NULL ORDER BY d.device_id"""
_POP_ONE_TIME = """
    DELETE FROM one_time_prekey WHERE id IN (
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY mailbox, kind ORDER BY key_id) AS place
            FROM one_time_prekey WHERE mailbox = ANY($1)) waiting
        WHERE place = 1)
    RETURNING mailbox, kind, key_id, public_key, signature"""
_COUNT = """
    UPDATE key_set SET issued_through_one_time = $2, issued_through_pq = $3, last_resort_uses = $4, is_low_told = $5 WHERE mailbox = $1"""
_LISTS = """
    SELECT a.id, a.device_list_epoch, d.device_id, d.registration_id, d.mailbox
    FROM account a LEFT JOIN device d ON d.account_id = a.id AND d.ended_at IS NULL AND d.registration_id IS NOT NULL
    WHERE a.id = ANY($1) AND a.deleted_at IS NULL ORDER BY d.device_id"""


class TortoisePrekeys:
    """PrekeyStore on PostgreSQL or SQLite."""

    async def replace(self, owner: Caller, upload: KeyUpload, now: datetime) -> None:
        async with transaction() as tx:
            await publish_keys(tx, owner, upload, now)

    async def refill(self, owner: Caller, verified_under: Identity, refill: KeyRefill, now: datetime) -> None:
        async with transaction() as tx:
            await fetch(tx, _LOCK_ACCOUNT, owner.user_id)
            await _load_live_device(tx, owner)
            held = await KeySetRow.get_or_none(mailbox=owner.mailbox, using_db=tx)
            if held is None or await _identity(tx, owner.mailbox) != verified_under:
                raise InvalidKeys("The set was replaced meanwhile.")
            check_new_ids(refill, HighestIds(held.uploaded_through_one_time, held.uploaded_through_pq))
            await _check_capacity(tx, owner.mailbox, refill)
            _fill_key_set(held, held, refill, now)
            held.is_low_told = held.is_low_told and not (refill.one_time or refill.pq)
            await held.save(using_db=tx)
            await _insert(tx, owner.mailbox, refill)

    async def identity(self, mailbox: MailboxKey) -> Identity | None:
        async with database_guard():
            return await _identity(connection(), mailbox)

    async def state(self, mailbox: MailboxKey) -> KeyState | None:
        async with database_guard():
            found = await fetch(connection(), _STATE, mailbox)
        if not found:
            return None
        first = found[0]
        return KeyState(
            _unused(found, "ec"),
            _unused(found, "pq"),
            first["signed_prekey_id"],
            to_datetime(first["signed_prekey_at"]),
            first["last_resort_uses"],
            HighestIds(first["issued_through_one_time"], first["issued_through_pq"]),
        )

    async def relationship(self, user_id: UserId, asker: UserId) -> Relationship:
        if user_id == asker:
            return Relationship.FRIEND
        async with database_guard():
            found = (await fetch(connection(), _RELATIONSHIP, user_id, asker))[0]
        if found["is_hidden"]:
            return Relationship.HIDDEN
        if found["is_friend"]:
            return Relationship.FRIEND
        return Relationship.ACQUAINTED if found["is_acquainted"] else Relationship.STRANGER

    async def keys(self, user_id: UserId) -> AccountKeys:
        async with database_guard():
            found = await fetch(connection(), _KEYS, user_id)
        if not found:
            raise NotFound
        first = found[0]
        suite = Suite(first["account_suite"]) if first["account_suite"] else None
        devices = [_device(row, row["identity_key"]) for row in found if row["device_id"] is not None]
        return AccountKeys(user_id, suite, first["identity_key"], first["device_list_epoch"], devices)

    async def claim(
        self,
        user_id: UserId,
        device_ids: Collection[DeviceId] | None,
        exclude_mailbox: MailboxKey,
        *,
        takes_one_time: bool = True,
    ) -> ClaimResult:
        async with transaction() as tx:
            account = await fetch(tx, _LOCK_ACCOUNT, user_id)
            if not account:
                raise NotFound
            present = {row["device_id"]: row for row in await fetch(tx, _CLAIMABLE, user_id)}
            if device_ids is None:
                wanted = [row for row in present.values() if row["mailbox"] != exclude_mailbox]
            elif not present.keys() >= set(device_ids):
                raise NotFound("This account has no such device with keys.")
            else:
                wanted = [row for number, row in present.items() if number in device_ids]
            taken = await fetch(tx, _POP_ONE_TIME, [row["mailbox"] for row in wanted] if takes_one_time else [])
            bundles, low = await _build_bundles(tx, account[0]["identity_key"], wanted, taken)
        return ClaimResult(account[0]["device_list_epoch"], bundles, low)


async def publish_keys(tx: BaseDBAsyncClient, owner: Caller, upload: KeyUpload, now: datetime) -> None:
    """PrekeyStore.replace in the transaction of the caller."""
    identity = upload.identity
    if not await fetch(tx, _LOCK_ACCOUNT_UNDER, owner.user_id, identity.key, identity.suite.value):
        raise IdentityMismatch
    await _register(tx, owner, upload.registration_id, now)
    held = await KeySetRow.get_or_none(mailbox=owner.mailbox, using_db=tx)
    issued = _issued(held) if held else HighestIds()
    check_new_ids(upload, issued)
    fresh = KeySetRow(
        mailbox=owner.mailbox,
        suite=identity.suite.value,
        identity_dh_key=identity.dh_key,
        identity_dh_signature=identity.dh_signature,
        issued_through_one_time=issued.one_time,
        issued_through_pq=issued.pq,
        uploaded_through_one_time=issued.one_time,
        uploaded_through_pq=issued.pq,
    )
    _fill_key_set(fresh, held, upload, now)
    await fresh.save(using_db=tx, force_create=held is None, force_update=held is not None)
    await OneTimePrekeyRow.filter(mailbox=owner.mailbox).using_db(tx).delete()
    await _insert(tx, owner.mailbox, upload)


class TortoiseDeviceLists:
    """DeviceListStore on PostgreSQL or SQLite."""

    async def load_lists(self, users: Collection[UserId]) -> dict[UserId, Recipient]:
        async with database_guard():
            found = await fetch(connection(), _LISTS, list(users))
        listed: dict[UserId, tuple[int, dict[DeviceId, ListedDevice]]] = {}
        for row in found:
            user = UserId(to_uuid(row["id"]))
            _, devices = listed.setdefault(user, (row["device_list_epoch"], {}))
            if row["device_id"] is not None:
                devices[DeviceId(row["device_id"])] = ListedDevice(row["registration_id"], MailboxKey(row["mailbox"]))
        return {user: Recipient(user, epoch, devices) for user, (epoch, devices) in listed.items()}


async def _register(tx: BaseDBAsyncClient, owner: Caller, registration_id: int, now: datetime) -> None:
    """Store the registration id of a device. A new device changes the device list, so peers are notified. Raises InvalidKeys."""
    device = await _load_live_device(tx, owner)
    earlier = await fetch(tx, _EARLIER_REGISTRATIONS, owner.user_id, device["device_id"], owner.mailbox)
    check_registration_id(registration_id, device["registration_id"], [row["registration_id"] for row in earlier])
    if device["registration_id"] is not None:
        return
    await fetch(tx, _REGISTER, owner.mailbox, registration_id)
    risen = await fetch(tx, _RAISE_EPOCH, owner.user_id)
    if not await fetch(tx, _OTHER_WITH_KEYS, owner.user_id, owner.mailbox):
        return
    # Only a new sign-up changes the identity, and it adds a new primary device.
    epoch, is_new = risen[0]["device_list_epoch"], bool(device["is_primary"])
    await enqueue_devices_changed(tx, owner.user_id, epoch, now, identity_changed=is_new)


async def _load_live_device(tx: BaseDBAsyncClient, owner: Caller) -> Row:
    found = await fetch(tx, _LIVE_DEVICE, owner.mailbox)
    if not found:
        raise InvalidToken("This device has ended.")
    return found[0]


async def _identity(tx: BaseDBAsyncClient, mailbox: MailboxKey) -> Identity | None:
    found = await fetch(tx, _IDENTITY, mailbox)
    return _device_identity(found[0], found[0]["identity_key"]) if found else None


def _device_identity(row: Row, identity_key: bytes) -> Identity:
    return Identity(Suite(row["suite"]), identity_key, row["identity_dh_key"], row["identity_dh_signature"])


def _device(row: Row, identity_key: bytes) -> DeviceKeys:
    return DeviceKeys(DeviceId(row["device_id"]), row["registration_id"], _device_identity(row, identity_key))


def _issued(held: KeySetRow) -> HighestIds:
    return HighestIds(held.issued_through_one_time, held.issued_through_pq)


def _fill_key_set(row: KeySetRow, held: KeySetRow | None, keys: KeyUpload | KeyRefill, now: datetime) -> None:
    """Set the signed keys and the highest ids of the row; a key that `held` has already keeps its age and its count of uses."""
    if signed := keys.signed_prekey:
        is_same = held is not None and held.signed_prekey == signed.key
        row.signed_prekey_at = held.signed_prekey_at if held and is_same else now
        row.signed_prekey_id, row.signed_prekey, row.signed_prekey_signature = signed.id, signed.key, signed.signature
    if last := keys.pq_last_resort:
        is_same = held is not None and held.pq_last_resort == last.key
        row.last_resort_uses = held.last_resort_uses if held and is_same else 0
        row.pq_last_resort_id, row.pq_last_resort, row.pq_last_resort_signature = last.id, last.key, last.signature
    row.uploaded_through_one_time = keys.one_time[-1].id if keys.one_time else row.uploaded_through_one_time
    row.uploaded_through_pq = keys.pq[-1].id if keys.pq else row.uploaded_through_pq


async def _check_capacity(tx: BaseDBAsyncClient, mailbox: MailboxKey, refill: KeyRefill) -> None:
    there = OneTimePrekeyRow.filter(mailbox=mailbox).using_db(tx)
    check_unused_count(
        await there.filter(kind="ec").count() + len(refill.one_time),
        await there.filter(kind="pq").count() + len(refill.pq),
    )


async def _insert(tx: BaseDBAsyncClient, mailbox: MailboxKey, keys: KeyUpload | KeyRefill) -> None:
    unsigned = [
        OneTimePrekeyRow(mailbox=mailbox, kind="ec", key_id=each.id, public_key=each.key) for each in keys.one_time
    ]
    signed = [
        OneTimePrekeyRow(mailbox=mailbox, kind="pq", key_id=each.id, public_key=each.key, signature=each.signature)
        for each in keys.pq
    ]
    await OneTimePrekeyRow.bulk_create([*unsigned, *signed], using_db=tx)


def _unused(found: Sequence[Row], kind: str) -> list[OneTimePrekey]:
    return [OneTimePrekey(row["key_id"], row["public_key"]) for row in found if row["kind"] == kind]


async def _build_bundles(
    tx: BaseDBAsyncClient, identity_key: bytes, wanted: Sequence[Row], taken: Sequence[Row]
) -> tuple[list[Bundle], Mapping[MailboxKey, HighestIds]]:
    """The bundles of these devices with the claimed one-time keys; counts uses of last-resort keys."""
    by_place = {(row["mailbox"], row["kind"]): row for row in taken}
    bundles, low = [], {}
    for row in wanted:
        mailbox = MailboxKey(row["mailbox"])
        one_time, pq = by_place.get((mailbox, "ec")), by_place.get((mailbox, "pq"))
        before = HighestIds(row["one_time_count"], row["pq_count"])
        left = HighestIds(before.one_time - (one_time is not None), before.pq - (pq is not None))
        if crosses_low_water(before, left) and not row["is_low_told"]:
            low[mailbox] = left
        await fetch(
            tx,
            _COUNT,
            mailbox,
            one_time["key_id"] if one_time else row["issued_through_one_time"],
            pq["key_id"] if pq else row["issued_through_pq"],
            row["last_resort_uses"] + (pq is None),
            mailbox in low or bool(row["is_low_told"]),
        )
        bundles.append(_bundle(row, identity_key, one_time, pq))
    return bundles, low


def _bundle(row: Row, identity_key: bytes, one_time: Row | None, pq: Row | None) -> Bundle:
    last_resort = SignedPrekey(row["pq_last_resort_id"], row["pq_last_resort"], row["pq_last_resort_signature"])
    return Bundle(
        _device(row, identity_key),
        SignedPrekey(row["signed_prekey_id"], row["signed_prekey"], row["signed_prekey_signature"]),
        OneTimePrekey(one_time["key_id"], one_time["public_key"]) if one_time else None,
        SignedPrekey(pq["key_id"], pq["public_key"], pq["signature"]) if pq else last_resort,
        is_last_resort=pq is None,
    )
