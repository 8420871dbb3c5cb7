"""Deletes expired rows in bounded batches: codes, tokens, links, reserved usernames, devices that ended long ago."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from vyry.accounts.account import KEEP_ENDED
from vyry.accounts.events import KEEP_EVENTS
from vyry.accounts.joining import ATTEMPT_LIFETIME
from vyry.accounts.otp_limits import CODE_LIFETIME, HOUR, PROVEN_AGE
from vyry.accounts.registration_lock import TOKEN_LIFETIME
from vyry.accounts.signup_invitations import MONTH
from vyry.accounts.tokens import FAMILY_LIFETIME
from vyry.accounts.usernames import RESERVATION
from vyry.devices.links import EXPIRED_LINK_RETENTION, LINK_LIFETIME
from vyry.devices.push_wakeups import WAKEUP_COOLDOWNS as WAKES_REST
from vyry.kernel.time import to_milliseconds
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.deferred_notices import CLAIM_LEASE
from vyry.storage.raw_sql import fetch


#: A username is free from this day on.
_DAY: Final = timedelta(days=1)
#: A node that could not read revocations for so long finds ended sessions by its other checks.
_ENDING_AGE: Final = timedelta(minutes=10)
#: Longer than any window of the limits of codes.
_SENT_AGE: Final = timedelta(days=8)
_NOW: Final = timedelta(0)
#: How much the clocks of nodes may differ.
_SLACK: Final = timedelta(minutes=1)
#: Tables and columns that count, lock or expire, and how far in the future a correct clock can date them.
_MAX_FUTURE: Final = (
    ("otp_sent", "at", _NOW),
    ("otp_breaker", "until", HOUR),
    ("otp_challenge", "expires_at", CODE_LIFETIME),
    ("registration", "expires_at", TOKEN_LIFETIME),
    ("link", "expires_at", LINK_LIFETIME),
    ("signup_attempt", "expires_at", ATTEMPT_LIFETIME),
    ("signup_invitation", "created_at", _NOW),
    ("recovery_try", "ends_at", HOUR),
    ("call", "at", _NOW),
    ("notice", "at", _NOW),
    ("push_wake", "due_at", WAKES_REST[-1]),
    ("push_wake", "rest_until", WAKES_REST[-1]),
    ("held_notice", "try_at", CLAIM_LEASE),
    ("account", "deleted_at", _NOW),
)
#: Rows to delete once they have expired.
_LIVES: Final = (("refresh_token", "expires_at", FAMILY_LIFETIME),)


class TortoiseAccountUpkeep:
    """AccountUpkeep on PostgreSQL or SQLite."""

    async def delete_expired(self, now: datetime, limit: int) -> int:
        gone = await self._delete("otp_challenge", "id", "expires_at", now, limit)
        gone += await self._delete("otp_sent", "id", "at", now - _SENT_AGE, limit)
        gone += await self._delete("proven_network", "id", "proven_on", (now - PROVEN_AGE).date(), limit)
        gone += await self._delete("otp_breaker", "area", "until", now, limit)
        gone += await self._delete("refresh_token", "hash", "expires_at", now, limit)
        gone += await self._delete("ending", "id", "at", now - _ENDING_AGE, limit)
        gone += await self._delete("registration", "token_hash", "expires_at", now, limit)
        gone += await self._delete("signup_attempt", "attempt_hash", "expires_at", now, limit)
        gone += await self._delete("signup_invitation", "id", "expires_at", now - MONTH, limit)
        gone += await self._delete("recovery_try", "subject", "ends_at", now, limit)
        gone += await self._delete("account_event", "id", "at", now - KEEP_EVENTS, limit)
        gone += await self._delete("invite", "id", "expires_at", now, limit)
        gone += await self._delete("link", "id", "expires_at", now - EXPIRED_LINK_RETENTION, limit)
        gone += await self._delete("resting_name", "hash", "free_on", now.date() + _DAY, limit)
        return gone + await self._delete_ended_devices(now - KEEP_ENDED, limit)

    async def _delete(self, table: str, key: str, moment: str, before: date, limit: int) -> int:
        old = f"SELECT {key} FROM {table} WHERE {moment} < $1 LIMIT {limit:d}"  # nosemgrep: sql-only-from-constants - names of this class, and a number
        async with database_guard():
            delete = f"DELETE FROM {table} WHERE {key} IN ({old}) RETURNING {key}"  # nosemgrep: sql-only-from-constants - as above
            return len(await fetch(connection(), delete, before))

    async def _delete_ended_devices(self, before: datetime, limit: int) -> int:
        old = f"SELECT id FROM device WHERE ended_at < $1 LIMIT {limit:d}"
        forget = (
            f"DELETE FROM device WHERE id IN ({old}) RETURNING mailbox"  # nosemgrep: sql-only-from-constants - a number
        )
        async with transaction() as tx:
            mailboxes = [row["mailbox"] for row in await fetch(tx, forget, before)]
            await fetch(tx, "DELETE FROM mailbox WHERE id = ANY($1)", mailboxes)
        return len(mailboxes)

    async def clamp_future_dates(self, now: datetime, pin_lock: timedelta, *, is_confirmed: bool) -> int:
        moved = await self._clamp_columns(_MAX_FUTURE, now)
        if is_confirmed:
            # A clock that is wrong and behind would open the locks, and have devices idle, as soon as it is right again.
            locks = [("account_pin", column, pin_lock) for column in ("locked_until", "lock_locked_until")]
            moved += await self._clamp_columns([*_LIVES, *locks], now)
            free_on = (now + RESERVATION).date() + _DAY
            moved += await self._clamp_column("device", "last_seen_on", now.date(), now.date() + _DAY)
            moved += await self._clamp_column("proven_network", "proven_on", now.date(), now.date() + _DAY)
            moved += await self._clamp_column("resting_name", "free_on", free_on, free_on + _DAY)
        return moved + await self._clamp_accepted_at(now)

    async def _clamp_columns(self, columns: Sequence[tuple[str, str, timedelta]], now: datetime) -> int:
        return sum(
            [
                await self._clamp_column(table, column, now + span, now + span + _SLACK)
                for table, column, span in columns
            ]
        )

    async def _clamp_accepted_at(self, now: datetime) -> int:
        """Undeposited mail is found by its age."""
        is_sqlite = connection().capabilities.dialect == "sqlite"
        moments = [to_milliseconds(each) if is_sqlite else each for each in (now, now + _SLACK)]
        statement = "UPDATE envelope SET accepted_at = $1 WHERE seq IS NULL AND accepted_at > $2 RETURNING id"
        async with database_guard():
            return len(await fetch(connection(), statement, *moments))

    async def _clamp_column(self, table: str, column: str, to: date, after: date) -> int:
        move = f"UPDATE {table} SET {column} = $1 WHERE {column} > $2 RETURNING {column}"  # nosemgrep: sql-only-from-constants - names of this module
        async with database_guard():
            return len(await fetch(connection(), move, to, after))
