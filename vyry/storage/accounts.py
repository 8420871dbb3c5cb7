"""Accounts, and the usernames that are reserved for their former owners.

A username is released and reserved in one transaction. An account that takes a username writes it first: the unique column makes it wait for a concurrent
release. Only then it checks for a reservation, with a statement that sees what was committed meanwhile.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import IntegrityError

from vyry.accounts.account import Account, AccountChange, EndedDevice, NewDevice, SignupResult
from vyry.accounts.events import AccountEvent
from vyry.accounts.phone import HiddenNumber
from vyry.accounts.recovery import CodeExchange
from vyry.accounts.registration_lock import RegistrationLocked
from vyry.accounts.usernames import UsernameRules, name_hash
from vyry.errors import Forbidden, InvalidToken, NotFound, PinRequired, UsernameTaken
from vyry.kernel.ids import DeviceId, UserId, new_id
from vyry.storage.account_events import record_event
from vyry.storage.conversation_models import ReservedUsernameRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.devices import DeviceAssignment, add_device, end_devices
from vyry.storage.locks import lock_account
from vyry.storage.models import AccountRow
from vyry.storage.peppers import check_known_peppers, create_account, lock_account_by_number, store_number
from vyry.storage.pins import (
    consume_registration_token,
    delete_abandoned_pin,
    delete_registrations,
    load_registration_lock,
)
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.recovery_codes import exchange_recovery_code


#: Device numbers start again with a new sign-up.
FIRST_NUMBER = DeviceId(1)
SUSPENDED = "The operator has suspended this account."


class TortoiseAccounts:
    """AccountStore on PostgreSQL or SQLite."""

    async def sign_up(
        self, number: HiddenNumber, device: NewDevice, now: datetime, *, confirmed: datetime | None = None
    ) -> SignupResult:
        # The first statements lock or create the account: a concurrent sign-up with the same number waits here.
        fresh = UserId(new_id())
        async with transaction() as tx:
            found = await lock_account_by_number(tx, number) or await create_account(tx, fresh, number, now)
            await check_known_peppers(tx, number.hashes, now)
            user_id = UserId(to_uuid(found[0]["id"]))
            if found[0]["suspended_at"] is not None:
                raise Forbidden(SUSPENDED)
            pin = await load_registration_lock(tx, user_id)
            if pin is not None and pin.requires_pin((confirmed or now).date()):
                raise RegistrationLocked(user_id)
            if pin is not None and pin.is_abandoned((confirmed or now).date()):
                await delete_abandoned_pin(tx, user_id, now)
            await store_number(tx, user_id, number)
            ended = await end_all_devices(tx, user_id, now) if user_id != fresh else ()
            await install_primary_device(tx, user_id, device, now)
        return SignupResult(user_id, FIRST_NUMBER, user_id == fresh, found[0]["display_name"] is not None, ended)

    async def unlock(
        self,
        token_hash: str,
        proven: str | None,
        device: NewDevice,
        now: datetime,
        *,
        confirmed: datetime | None = None,
        fresh_recovery: str | None = None,
    ) -> SignupResult:
        look = "SELECT display_name, suspended_at FROM account WHERE id = $1"
        async with transaction() as tx:
            taken = await consume_registration_token(tx, token_hash, now)
            if taken is None:
                raise InvalidToken
            user_id, found = UserId(taken.account_id), await fetch(tx, look, taken.account_id)
            if found[0]["suspended_at"] is not None:
                raise Forbidden(SUSPENDED)
            pin = await load_registration_lock(tx, user_id)
            if pin is not None and pin.requires_pin((confirmed or now).date()) and pin.verifier.text != proven:
                raise PinRequired
            if taken.recovery_hash is not None:
                await _renew_recovery_code(tx, user_id, CodeExchange(taken.recovery_hash, fresh_recovery or ""), now)
            ended = await end_all_devices(tx, user_id, now)
            await install_primary_device(tx, user_id, device, now)
        return SignupResult(user_id, FIRST_NUMBER, False, found[0]["display_name"] is not None, ended)  # noqa: FBT003 - the account was there

    async def load(self, user_id: UserId) -> Account:
        async with database_guard():
            row = await AccountRow.get_or_none(id=user_id, deleted_at=None)
        if row is None:
            raise NotFound
        return _account(row)

    async def change(self, user_id: UserId, change: AccountChange, names: UsernameRules) -> Account:
        try:
            async with transaction() as tx:
                # Settings that are changed at the same time merge.
                if await lock_account(tx, user_id) is None:
                    raise NotFound
                row = await AccountRow.get(id=user_id, using_db=tx)
                former = row.username
                _ = row.update_from_dict(dict(change.profile))
                merged = {} if change.settings is None else {**row.settings, **change.settings}
                row.settings = {name: value for name, value in merged.items() if value is not None}
                await row.save(tx, update_fields=[*change.profile, "settings"])
                await apply_rename(tx, user_id, former, row.username, names)
        except IntegrityError as error:
            raise UsernameTaken from error
        return _account(row)

    async def reserved_until(self, user_id: UserId, today: date) -> Sequence[date]:
        async with database_guard():
            return await list_release_dates(connection(), user_id, today)


async def install_primary_device(tx: BaseDBAsyncClient, user_id: UserId, device: NewDevice, now: datetime) -> None:
    """Give the locked account a new primary device; identity and device numbers start again."""
    reset = "UPDATE account SET suite = NULL, identity_key = NULL, last_device_id = $1 WHERE id = $2"
    await fetch(tx, reset, int(FIRST_NUMBER), user_id)
    await delete_registrations(tx, user_id)
    await add_device(tx, DeviceAssignment(user_id, FIRST_NUMBER, is_primary=True), device, now)
    await record_event(tx, AccountEvent(user_id, "signedUp", now, FIRST_NUMBER))


async def end_all_devices(tx: BaseDBAsyncClient, user_id: UserId, now: datetime) -> tuple[EndedDevice, ...]:
    """End every device of the locked account; peers get a notice of the new identity."""
    live = await fetch(tx, "SELECT id FROM device WHERE account_id = $1 AND ended_at IS NULL", user_id)
    devices = [to_uuid(row["id"]) for row in live]
    return tuple(await end_devices(tx, user_id, devices, now, identity_changed=True))


async def _renew_recovery_code(tx: BaseDBAsyncClient, user_id: UserId, codes: CodeExchange, now: datetime) -> None:
    """Replace the code that passed before the PIN. Raises InvalidToken if it was replaced meanwhile."""
    if not await exchange_recovery_code(tx, user_id, codes, now):
        raise InvalidToken


def _account(row: AccountRow) -> Account:
    return Account(
        UserId(row.id),
        row.phone_sealed or None,
        row.created_at,
        row.username,
        row.display_name,
        row.bio,
        row.picture_attachment_id,
        row.sealed_profile,
        row.settings,
    )


#: A row whose day has come counts as deleted: the sweeper deletes it later.
_RESERVE: Final = """
    INSERT INTO resting_name (hash, account_id, free_on) VALUES ($1, $2, $3)
    ON CONFLICT (hash) DO UPDATE SET account_id = excluded.account_id, free_on = excluded.free_on"""
_IS_RESERVED: Final = """
    SELECT 1 FROM resting_name WHERE hash = $1 AND free_on > $2 AND (account_id IS NULL OR account_id <> $3)"""


async def apply_rename(
    tx: BaseDBAsyncClient, user_id: UserId, former: str | None, present: str | None, rules: UsernameRules
) -> None:
    """Release the former username and take the present one, for a locked account. Raises UsernameTaken, RateLimited."""
    if former == present:
        return
    if present is not None:
        if await fetch(tx, _IS_RESERVED, name_hash(present), rules.today, user_id):
            raise UsernameTaken
        await ReservedUsernameRow.filter(hash=name_hash(present)).using_db(tx).delete()
    if former is not None:
        rules.check_reserved(await list_release_dates(tx, user_id, rules.today))
        await reserve_username(tx, former, user_id, rules.released_on)


async def reserve_username(tx: BaseDBAsyncClient, username: str, account_id: UUID | None, free_on: date) -> None:
    """Reserve a released username for its former owner; for no account (None) when the owner is deleted."""
    await fetch(tx, _RESERVE, name_hash(username), account_id, free_on)


async def list_release_dates(tx: BaseDBAsyncClient, user_id: UserId, today: date) -> list[date]:
    """The days on which the usernames that this account released become free, from tomorrow on."""
    own = ReservedUsernameRow.filter(account_id=user_id, free_on__gt=today).using_db(tx)
    return [row.free_on for row in await own.order_by("free_on")]
