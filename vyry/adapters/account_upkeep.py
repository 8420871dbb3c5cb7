"""Forgetting in bounded batches what no longer means anything: codes, paces, tokens, links, names that have rested, devices long ended."""

from datetime import date, datetime, timedelta
from typing import Final

from vyry.accounts.account import KEEP_ENDED
from vyry.accounts.events import KEEP_EVENTS
from vyry.accounts.sending import PROVEN_AGE
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.statements import fetch
from vyry.devices.links import LINK_REMEMBERED


#: A name is free from its day on.
_DAY: Final = timedelta(days=1)
#: A number paced before that may be sent a code anyway.
_PACE_AGE: Final = timedelta(days=1)
#: A node that could not look for so long finds its sockets' ends by its other looks.
_ENDING_AGE: Final = timedelta(minutes=10)
#: Longer than any window that codes are counted in.
_SENT_AGE: Final = timedelta(days=8)


class TortoiseAccountUpkeep:
    """AccountUpkeep on PostgreSQL or SQLite."""

    async def retire(self, now: datetime, limit: int) -> int:
        gone = await self._delete("otp_challenge", "id", "expires_at", now, limit)
        gone += await self._delete("otp_pace", "phone_hash", "sent_at", now - _PACE_AGE, limit)
        gone += await self._delete("otp_sent", "id", "at", now - _SENT_AGE, limit)
        gone += await self._delete("proven_network", "id", "proven_on", (now - PROVEN_AGE).date(), limit)
        gone += await self._delete("otp_breaker", "area", "until", now, limit)
        gone += await self._delete("refresh_token", "hash", "expires_at", now, limit)
        gone += await self._delete("ending", "id", "at", now - _ENDING_AGE, limit)
        gone += await self._delete("registration", "token_hash", "expires_at", now, limit)
        gone += await self._delete("account_event", "id", "at", now - KEEP_EVENTS, limit)
        gone += await self._delete("invite", "id", "expires_at", now, limit)
        gone += await self._delete("link", "id", "expires_at", now - LINK_REMEMBERED, limit)
        gone += await self._delete("resting_name", "hash", "free_on", now.date() + _DAY, limit)
        return gone + await self._forget_devices(now - KEEP_ENDED, limit)

    async def _delete(self, table: str, key: str, moment: str, before: date, limit: int) -> int:
        old = f"SELECT {key} FROM {table} WHERE {moment} < $1 LIMIT {limit:d}"  # nosemgrep: sql-only-from-constants - names of this class, and a number
        async with available():
            delete = f"DELETE FROM {table} WHERE {key} IN ({old}) RETURNING {key}"  # nosemgrep: sql-only-from-constants - as above
            return len(await fetch(connection(), delete, before))

    async def _forget_devices(self, before: datetime, limit: int) -> int:
        old = f"SELECT id FROM device WHERE ended_at < $1 LIMIT {limit:d}"
        forget = (
            f"DELETE FROM device WHERE id IN ({old}) RETURNING mailbox"  # nosemgrep: sql-only-from-constants - a number
        )
        async with transaction() as inside:
            mailboxes = [row["mailbox"] for row in await fetch(inside, forget, before)]
            await fetch(inside, "DELETE FROM mailbox WHERE id = ANY($1)", mailboxes)
        return len(mailboxes)
