"""Sign-up to an account by its recovery code."""

from datetime import datetime
from typing import Final

from vyry.accounts.account import NewDevice, SignupResult
from vyry.accounts.events import AccountEvent
from vyry.accounts.recovery import CodeExchange, RecoveryName
from vyry.accounts.registration_lock import RegistrationLocked
from vyry.errors import Forbidden
from vyry.kernel.ids import UserId
from vyry.storage.account_events import record_event
from vyry.storage.accounts import FIRST_NUMBER, SUSPENDED, end_all_devices, install_primary_device
from vyry.storage.database import transaction
from vyry.storage.pins import load_registration_lock
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.recovery_codes import TortoiseRecoveryCodes, exchange_recovery_code


#: One statement finds, judges and locks: it is the same for a wrong code, an unknown name and an account without a code.
_LOCK: Final = """
    UPDATE account SET created_at = created_at
    WHERE deleted_at IS NULL AND (id = $1 OR username = $2)
        AND EXISTS (SELECT 1 FROM recovery_code r WHERE r.account_id = account.id AND r.code_hash = $3)
    RETURNING id, display_name, suspended_at"""


class TortoiseRecovery(TortoiseRecoveryCodes):
    """RecoveryStore on PostgreSQL or SQLite."""

    async def recover(
        self, name: RecoveryName, codes: CodeExchange, device: NewDevice, now: datetime, *, confirmed: datetime
    ) -> SignupResult | None:
        async with transaction() as tx:
            found = await fetch(tx, _LOCK, name.user_id, name.username, codes.given)
            if not found:
                return None
            user_id = UserId(to_uuid(found[0]["id"]))
            if found[0]["suspended_at"] is not None:
                raise Forbidden(SUSPENDED)
            pin = await load_registration_lock(tx, user_id)
            if pin is not None and pin.requires_pin(confirmed.date()):
                raise RegistrationLocked(user_id)
            # Another call may have used the code while this one waited for the lock.
            if not await exchange_recovery_code(tx, user_id, codes, now):
                return None
            ended = await end_all_devices(tx, user_id, now)
            await install_primary_device(tx, user_id, device, now)
            await record_event(tx, AccountEvent(user_id, "recovered", now, FIRST_NUMBER))
        return SignupResult(user_id, FIRST_NUMBER, False, found[0]["display_name"] is not None, ended)  # noqa: FBT003 - the account was there
