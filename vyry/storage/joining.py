"""Accounts without a number, made by invitation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import IntegrityError

from vyry.accounts.account import NewDevice, SignupResult
from vyry.accounts.joining import ATTEMPT_LIFETIME, JoiningAccount
from vyry.accounts.usernames import UsernameRules
from vyry.errors import Forbidden, NotFound, UsernameTaken
from vyry.kernel.ids import UserId
from vyry.storage.accounts import FIRST_NUMBER, SUSPENDED, apply_rename, end_all_devices, install_primary_device
from vyry.storage.database import transaction
from vyry.storage.raw_sql import fetch, to_uuid
from vyry.storage.recovery_codes import save_recovery_code


#: Concurrent repetitions of one attempt wait here for the first of them.
_ATTEMPT: Final = """
    INSERT INTO signup_attempt (attempt_hash, account_id, expires_at) VALUES ($1, $2, $3)
    ON CONFLICT (attempt_hash) DO UPDATE SET
        account_id = CASE WHEN signup_attempt.expires_at > $4 THEN signup_attempt.account_id ELSE excluded.account_id END,
        expires_at = CASE WHEN signup_attempt.expires_at > $4 THEN signup_attempt.expires_at ELSE excluded.expires_at END
    RETURNING account_id"""
_CLAIM: Final = """
    UPDATE signup_invitation SET uses = uses + 1
    WHERE token_hash = ANY($1) AND uses < max_uses AND revoked_at IS NULL AND expires_at > $2 RETURNING id"""
#: The columns of a number are unique and not null: these values are no hash and no ciphertext of one.
_CREATE: Final = """
    INSERT INTO account (id, phone_hash, phone_sealed, pepper_id, username, display_name, settings, device_list_epoch, last_device_id, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, '{}', 1, 0, $7) RETURNING id"""
_LOCK: Final = "UPDATE account SET created_at = created_at WHERE id = $1 AND deleted_at IS NULL RETURNING display_name, suspended_at"


class TortoiseJoining:
    """JoinStore on PostgreSQL or SQLite."""

    async def join(
        self, hashes: Sequence[str] | None, account: JoiningAccount, device: NewDevice, names: UsernameRules
    ) -> SignupResult:
        now = names.now
        try:
            async with transaction() as tx:
                user_id = await _claim_attempt(tx, account, now)
                if user_id != account.user_id:
                    return await _repeat(tx, user_id, account, device, now)
                if hashes is not None and not await fetch(tx, _CLAIM, list(hashes), now):
                    raise NotFound
                await _create(tx, account, names)
                await save_recovery_code(tx, user_id, account.recovery_hash, now)
                await install_primary_device(tx, user_id, device, now)
        except IntegrityError as error:
            raise UsernameTaken from error
        return SignupResult(user_id, FIRST_NUMBER, True, account.display_name is not None, ())  # noqa: FBT003 - the account is new


async def _claim_attempt(tx: BaseDBAsyncClient, account: JoiningAccount, now: datetime) -> UserId:
    """The account of this attempt: the new one, unless the attempt has succeeded before."""
    if account.attempt_hash is None:
        return account.user_id
    found = await fetch(tx, _ATTEMPT, account.attempt_hash, account.user_id, now + ATTEMPT_LIFETIME, now)
    return UserId(to_uuid(found[0]["account_id"]))


async def _create(tx: BaseDBAsyncClient, account: JoiningAccount, names: UsernameRules) -> None:
    values = (f"none:{account.user_id.hex}", b"", account.pepper_id, account.username, account.display_name, names.now)
    await fetch(tx, _CREATE, account.user_id, *values)
    await apply_rename(tx, account.user_id, None, account.username, names)


async def _repeat(
    tx: BaseDBAsyncClient, user_id: UserId, account: JoiningAccount, device: NewDevice, now: datetime
) -> SignupResult:
    """Another first device and another code for the account of an attempt that has succeeded."""
    found = await fetch(tx, _LOCK, user_id)
    if not found:
        raise NotFound
    if found[0]["suspended_at"] is not None:
        raise Forbidden(SUSPENDED)
    ended = await end_all_devices(tx, user_id, now)
    await save_recovery_code(tx, user_id, account.recovery_hash, now)
    await install_primary_device(tx, user_id, device, now)
    return SignupResult(user_id, FIRST_NUMBER, True, found[0]["display_name"] is not None, ended)  # noqa: FBT003 - the account is as good as new
