"""Accounts in the database."""

from collections.abc import Sequence
from datetime import date, datetime

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import IntegrityError

from vyry.accounts.account import Account, AccountChange, EndedDevice, NewDevice, SignedUp
from vyry.accounts.events import AccountEvent
from vyry.accounts.lock import RegistrationHeld
from vyry.accounts.names import NameRules
from vyry.accounts.phone import HiddenNumber
from vyry.adapters.account_events import note_event
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.devices import end_devices
from vyry.adapters.new_devices import Place, add_device
from vyry.adapters.peppers import find_number, make_account, move_number, refuse_unknown_peppers
from vyry.adapters.registration_lock import close_door, drop_left_pin, pin_at_the_door, use_up
from vyry.adapters.resting_names import names_at_rest, renamed
from vyry.adapters.rows import AccountRow
from vyry.adapters.statements import fetch, to_uuid
from vyry.errors import Forbidden, InvalidToken, NotFound, PinRequired, UsernameTaken
from vyry.ids import DeviceId, UserId, new_id


#: A new sign-up starts the numbers of devices anew.
_FIRST_NUMBER = DeviceId(1)
_SUSPENDED = "The operator has suspended this account."


class TortoiseAccounts:
    """AccountStore on PostgreSQL or SQLite."""

    async def sign_up(
        self, number: HiddenNumber, device: NewDevice, now: datetime, *, confirmed: datetime | None = None
    ) -> SignedUp:
        # The first statements make or lock the account: whoever signs up with the same number at the same time waits here.
        fresh = UserId(new_id())
        async with transaction() as inside:
            found = await find_number(inside, number) or await make_account(inside, fresh, number, now)
            await refuse_unknown_peppers(inside, number.hashes, now)
            user_id = UserId(to_uuid(found[0]["id"]))
            if found[0]["suspended_at"] is not None:
                raise Forbidden(_SUSPENDED)
            pin = await pin_at_the_door(inside, user_id)
            if pin is not None and pin.holds((confirmed or now).date()):
                raise RegistrationHeld(user_id)
            if pin is not None and pin.is_left((confirmed or now).date()):
                await drop_left_pin(inside, user_id, now)
            await move_number(inside, user_id, number)
            ended = await self._end_all(inside, user_id, now) if user_id != fresh else ()
            await self._enter(inside, user_id, device, now)
        return SignedUp(user_id, _FIRST_NUMBER, user_id == fresh, found[0]["display_name"] is not None, ended)

    async def unlock(
        self,
        token_hash: str,
        proven: str | None,
        device: NewDevice,
        now: datetime,
        *,
        confirmed: datetime | None = None,
    ) -> SignedUp:
        look = "SELECT display_name, suspended_at FROM account WHERE id = $1"
        async with transaction() as inside:
            account_id = await use_up(inside, token_hash, now)
            if account_id is None:
                raise InvalidToken
            user_id, found = UserId(account_id), await fetch(inside, look, account_id)
            if found[0]["suspended_at"] is not None:
                raise Forbidden(_SUSPENDED)
            pin = await pin_at_the_door(inside, user_id)
            if pin is not None and pin.holds((confirmed or now).date()) and pin.verifier.text != proven:
                raise PinRequired
            ended = await self._end_all(inside, user_id, now)
            await self._enter(inside, user_id, device, now)
        return SignedUp(user_id, _FIRST_NUMBER, False, found[0]["display_name"] is not None, ended)  # noqa: FBT003 - the account was there

    async def load(self, user_id: UserId) -> Account:
        async with available():
            row = await AccountRow.get_or_none(id=user_id, deleted_at=None)
        if row is None:
            raise NotFound
        return _account(row)

    async def change(self, user_id: UserId, change: AccountChange, names: NameRules) -> Account:
        # A write that changes nothing locks the account first, so that settings changed at the same time merge.
        lock = "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING id"
        try:
            async with transaction() as inside:
                if not await fetch(inside, lock, user_id):
                    raise NotFound
                row = await AccountRow.get(id=user_id, using_db=inside)
                former = row.username
                _ = row.update_from_dict(dict(change.profile))
                merged = {} if change.settings is None else {**row.settings, **change.settings}
                row.settings = {name: value for name, value in merged.items() if value is not None}
                await row.save(inside, update_fields=[*change.profile, "settings"])
                await renamed(inside, user_id, (former, row.username), names)
        except IntegrityError as error:
            raise UsernameTaken from error
        return _account(row)

    async def resting(self, user_id: UserId, today: date) -> Sequence[date]:
        async with available():
            return await names_at_rest(connection(), user_id, today)

    async def _enter(self, inside: BaseDBAsyncClient, user_id: UserId, device: NewDevice, now: datetime) -> None:
        """Give the account, which is locked, to a new primary device: identity and numbers of devices begin anew."""
        reset = "UPDATE account SET suite = NULL, identity_key = NULL, last_device_id = $1 WHERE id = $2"
        await fetch(inside, reset, int(_FIRST_NUMBER), user_id)
        await close_door(inside, user_id)
        await add_device(inside, Place(user_id, _FIRST_NUMBER, is_primary=True), device, now)
        await note_event(inside, AccountEvent(user_id, "signedUp", now, _FIRST_NUMBER))

    async def _end_all(self, inside: BaseDBAsyncClient, user_id: UserId, now: datetime) -> tuple[EndedDevice, ...]:
        live = await fetch(inside, "SELECT id FROM device WHERE account_id = $1 AND ended_at IS NULL", user_id)
        devices = [to_uuid(row["id"]) for row in live]
        return tuple(await end_devices(inside, user_id, devices, now, identity_changed=True))


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
