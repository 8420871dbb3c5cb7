"""Accounts in the database."""

from collections.abc import Sequence
from datetime import date, datetime

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import IntegrityError

from vyry.accounts.account import Account, AccountChange, EndedDevice, NewDevice, SignupResult
from vyry.accounts.events import AccountEvent
from vyry.accounts.phone import HiddenNumber
from vyry.accounts.registration_lock import RegistrationLocked
from vyry.accounts.usernames import UsernameRules
from vyry.errors import Forbidden, InvalidToken, NotFound, PinRequired, UsernameTaken
from vyry.kernel.ids import DeviceId, UserId, new_id
from vyry.storage.account_events import record_event
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.devices import end_devices
from vyry.storage.models import AccountRow
from vyry.storage.new_devices import DeviceAssignment, add_device
from vyry.storage.peppers import check_known_peppers, create_account, lock_account_by_number, store_number
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.reserved_usernames import apply_rename, list_release_dates
from vyry.storage.unlock_tokens import (
    consume_registration_token,
    delete_abandoned_pin,
    delete_registrations,
    load_registration_lock,
)


#: A new sign-up starts the numbers of devices anew.
_FIRST_NUMBER = DeviceId(1)
_SUSPENDED = "The operator has suspended this account."


class TortoiseAccounts:
    """AccountStore on PostgreSQL or SQLite."""

    async def sign_up(
        self, number: HiddenNumber, device: NewDevice, now: datetime, *, confirmed: datetime | None = None
    ) -> SignupResult:
        # The first statements make or lock the account: whoever signs up with the same number at the same time waits here.
        fresh = UserId(new_id())
        async with transaction() as tx:
            found = await lock_account_by_number(tx, number) or await create_account(tx, fresh, number, now)
            await check_known_peppers(tx, number.hashes, now)
            user_id = UserId(to_uuid(found[0]["id"]))
            if found[0]["suspended_at"] is not None:
                raise Forbidden(_SUSPENDED)
            pin = await load_registration_lock(tx, user_id)
            if pin is not None and pin.requires_pin((confirmed or now).date()):
                raise RegistrationLocked(user_id)
            if pin is not None and pin.is_abandoned((confirmed or now).date()):
                await delete_abandoned_pin(tx, user_id, now)
            await store_number(tx, user_id, number)
            ended = await self._end_all_devices(tx, user_id, now) if user_id != fresh else ()
            await self._install_primary_device(tx, user_id, device, now)
        return SignupResult(user_id, _FIRST_NUMBER, user_id == fresh, found[0]["display_name"] is not None, ended)

    async def unlock(
        self,
        token_hash: str,
        proven: str | None,
        device: NewDevice,
        now: datetime,
        *,
        confirmed: datetime | None = None,
    ) -> SignupResult:
        look = "SELECT display_name, suspended_at FROM account WHERE id = $1"
        async with transaction() as tx:
            account_id = await consume_registration_token(tx, token_hash, now)
            if account_id is None:
                raise InvalidToken
            user_id, found = UserId(account_id), await fetch(tx, look, account_id)
            if found[0]["suspended_at"] is not None:
                raise Forbidden(_SUSPENDED)
            pin = await load_registration_lock(tx, user_id)
            if pin is not None and pin.requires_pin((confirmed or now).date()) and pin.verifier.text != proven:
                raise PinRequired
            ended = await self._end_all_devices(tx, user_id, now)
            await self._install_primary_device(tx, user_id, device, now)
        return SignupResult(user_id, _FIRST_NUMBER, False, found[0]["display_name"] is not None, ended)  # noqa: FBT003 - the account was there

    async def load(self, user_id: UserId) -> Account:
        async with database_guard():
            row = await AccountRow.get_or_none(id=user_id, deleted_at=None)
        if row is None:
            raise NotFound
        return _account(row)

    async def change(self, user_id: UserId, change: AccountChange, names: UsernameRules) -> Account:
        # A write that changes nothing locks the account first, so that settings changed at the same time merge.
        lock = "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING id"
        try:
            async with transaction() as tx:
                if not await fetch(tx, lock, user_id):
                    raise NotFound
                row = await AccountRow.get(id=user_id, using_db=tx)
                former = row.username
                _ = row.update_from_dict(dict(change.profile))
                merged = {} if change.settings is None else {**row.settings, **change.settings}
                row.settings = {name: value for name, value in merged.items() if value is not None}
                await row.save(tx, update_fields=[*change.profile, "settings"])
                await apply_rename(tx, user_id, (former, row.username), names)
        except IntegrityError as error:
            raise UsernameTaken from error
        return _account(row)

    async def reserved_until(self, user_id: UserId, today: date) -> Sequence[date]:
        async with database_guard():
            return await list_release_dates(connection(), user_id, today)

    async def _install_primary_device(
        self, tx: BaseDBAsyncClient, user_id: UserId, device: NewDevice, now: datetime
    ) -> None:
        """Give the account, which is locked, to a new primary device: identity and numbers of devices begin anew."""
        reset = "UPDATE account SET suite = NULL, identity_key = NULL, last_device_id = $1 WHERE id = $2"
        await fetch(tx, reset, int(_FIRST_NUMBER), user_id)
        await delete_registrations(tx, user_id)
        await add_device(tx, DeviceAssignment(user_id, _FIRST_NUMBER, is_primary=True), device, now)
        await record_event(tx, AccountEvent(user_id, "signedUp", now, _FIRST_NUMBER))

    async def _end_all_devices(self, tx: BaseDBAsyncClient, user_id: UserId, now: datetime) -> tuple[EndedDevice, ...]:
        live = await fetch(tx, "SELECT id FROM device WHERE account_id = $1 AND ended_at IS NULL", user_id)
        devices = [to_uuid(row["id"]) for row in live]
        return tuple(await end_devices(tx, user_id, devices, now, identity_changed=True))


def _account(row: AccountRow) -> Account:
    return Account(
        UserId(row.id),
        row.phone_sealed,
        row.created_at,
        row.username,
        row.display_name,
        row.bio,
        row.picture_attachment_id,
        row.sealed_profile,
        row.settings,
    )
