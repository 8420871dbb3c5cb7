"""One-time-code challenges, and the log of codes that were sent."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.queryset import QuerySet

from vyry.accounts.otp import Challenge, CodeHashes, Guess, PhoneHashes, Purpose
from vyry.accounts.otp_limits import (
    CODE_LIFETIME,
    DAY,
    HOUR,
    PROVEN_AGE,
    OtpAdmission,
    OtpCounterKeys,
    OtpHistory,
    OtpLimits,
    OtpRefusal,
    decide,
)
from vyry.storage.conversation_models import ProvenNetworkRow
from vyry.storage.database import connection, database_guard, transaction
from vyry.storage.models import OtpChallengeRow, OtpSentRow
from vyry.storage.raw_sql import fetch, to_datetime


#: On PostgreSQL every send that has a cost takes this lock.
_SPENDING: Final = 0x0719_5AFE
_LOCK: Final = "SELECT pg_advisory_xact_lock(subject) FROM unnest($1::bigint[]) AS subject"
_MOMENTS: Final = """
SELECT 'number' AS subject, at
FROM (SELECT at FROM otp_sent WHERE phone_hash = $1 AND network = $2 AND at > $4 ORDER BY at DESC LIMIT $8) AS of_number
UNION ALL
SELECT 'total' AS subject, at FROM (SELECT at FROM otp_sent WHERE phone_hash = $1 AND at > $5 ORDER BY at DESC LIMIT $9) AS of_total
UNION ALL
SELECT 'network' AS subject, at FROM (SELECT at FROM otp_sent WHERE network = $2 AND at > $6 ORDER BY at DESC LIMIT $10) AS of_network
UNION ALL
SELECT 'prefix' AS subject, at
FROM (SELECT at FROM otp_sent WHERE prefix = $3 AND at > $7 AND NOT is_verified ORDER BY at DESC LIMIT $11) AS of_prefix
"""
_AREA: Final = """
SELECT (SELECT until FROM otp_breaker WHERE area = $1) AS paused_until,
       (SELECT COUNT(*) FROM otp_sent WHERE area = $1 AND at > $2 AND (is_verified OR at <= $3)) AS known,
       (SELECT COUNT(*) FROM otp_sent WHERE area = $1 AND at > $2 AND is_verified) AS verified
"""
_SPENT: Final = "SELECT COALESCE(SUM(cost), 0) AS spent FROM otp_sent WHERE at > $1"
#: The newest of the codes that must be a day old before the cost of the day has fallen by so much.
_LAST_CODE_OVER_CAP: Final = """
SELECT MAX(at) AS at
FROM (SELECT at, SUM(cost) OVER (ORDER BY at DESC, id DESC) AS spent_since FROM otp_sent WHERE at > $1 AND cost > 0) AS spending
WHERE spent_since > $2
"""
_TRIP: Final = """
INSERT INTO otp_breaker (area, until) VALUES ($1, $2) ON CONFLICT (area) DO UPDATE SET until = excluded.until RETURNING area
"""
#: One statement counts the guess and checks it. It compares keyed hashes, so its time does not depend on the code. A challenge that is returned as used was
#: used by this guess.
_CHECK_CODE: Final = """
UPDATE otp_challenge SET guesses_left = guesses_left - 1, is_used = (code_hash IN ($1, $2))
WHERE id = $3 AND purpose = $4 AND guesses_left > 0 AND NOT is_used AND expires_at > $5
"""
_AND_NUMBER: Final = " AND phone_hash = ANY($6)"
_RETURNING_RESULT: Final = " RETURNING is_used, guesses_left, phone_hash, phone_sealed, network, created_at"
_PROVEN: Final = """
INSERT INTO proven_network (phone_hash, network, proven_on) VALUES ($1, $2, $3)
ON CONFLICT (phone_hash, network) DO UPDATE SET proven_on = excluded.proven_on RETURNING id
"""
_WITHDRAW: Final = "DELETE FROM otp_challenge WHERE id = $1 RETURNING network"


class TortoiseOtp:
    """OtpStore on PostgreSQL or SQLite."""

    async def open_challenge(
        self, challenge: Challenge, subjects: OtpCounterKeys, rules: OtpLimits
    ) -> OtpAdmission | OtpRefusal:
        now = challenge.created_at
        async with transaction() as tx:
            await _lock(tx, subjects, rules)
            decision = decide(rules, subjects, await _load_sent(tx, subjects, rules, now), now)
            if isinstance(decision, OtpAdmission):
                await _store(tx, challenge, subjects)
            elif decision.trips_breaker:
                await fetch(tx, _TRIP, subjects.area, decision.retry_at)
        return decision

    async def judge_guess(
        self,
        challenge_id: UUID,
        purpose: Purpose,
        code_hashes: CodeHashes,
        now: datetime,
        phone_hashes: PhoneHashes = None,
    ) -> Guess | None:
        values = (*code_hashes, challenge_id, purpose.value, now)
        async with transaction() as tx:
            if phone_hashes is None:
                found = await fetch(tx, _CHECK_CODE + _RETURNING_RESULT, *values)
            else:
                found = await fetch(tx, _CHECK_CODE + _AND_NUMBER + _RETURNING_RESULT, *values, list(phone_hashes))
            if not found:
                return None
            row = found[0]
            if row["is_used"]:
                sent = _sent_code(tx, row["phone_hash"], to_datetime(row["created_at"]), row["network"])
                await sent.update(is_verified=True)
                if row["network"]:
                    await fetch(tx, _PROVEN, row["phone_hash"], row["network"], now.date())
        return Guess(bool(row["is_used"]), row["guesses_left"], row["phone_hash"], row["phone_sealed"])

    async def withdraw_challenge(self, challenge: Challenge, *, is_certain: bool) -> None:
        async with transaction() as tx:
            for row in await fetch(tx, _WITHDRAW, challenge.challenge_id):
                if is_certain:
                    # A code that was not sent costs nothing and does not count for its prefix.
                    sent = _sent_code(tx, challenge.phone_hash, challenge.created_at, row["network"])
                    await sent.update(cost=0, prefix="", area="")

    async def load_history(self, subjects: OtpCounterKeys, rules: OtpLimits, now: datetime) -> OtpHistory:
        async with database_guard():
            return await _load_sent(connection(), subjects, rules, now)


async def _lock(tx: BaseDBAsyncClient, subjects: OtpCounterKeys, rules: OtpLimits) -> None:
    """Lock these counters, so that concurrent requests count one after the other; on SQLite the transaction is the only writer anyway."""
    if tx.capabilities.dialect == "sqlite":
        return
    named = [subjects.number]
    named += [subjects.network] if rules.network else []
    named += [subjects.prefix] if rules.prefix else []
    named += [subjects.area] if rules.has_breaker else []
    locks = {int.from_bytes(bytes.fromhex(each)[:8], signed=True) for each in named}
    if rules.daily_cap is not None:
        locks.add(_SPENDING)
    # Locked in one order, so that no two requests deadlock.
    await fetch(tx, _LOCK, sorted(locks))


async def _store(tx: BaseDBAsyncClient, challenge: Challenge, subjects: OtpCounterKeys) -> None:
    _ = await OtpChallengeRow.create(
        tx,
        id=challenge.challenge_id,
        phone_hash=challenge.phone_hash,
        phone_sealed=challenge.phone_sealed,
        network=subjects.network,
        purpose=challenge.purpose.value,
        code_hash=challenge.code_hash,
        guesses_left=challenge.guesses,
        created_at=challenge.created_at,
        expires_at=challenge.expires_at,
    )
    _ = await OtpSentRow.create(
        tx,
        at=challenge.created_at,
        phone_hash=subjects.number,
        network=subjects.network,
        prefix=subjects.prefix,
        area=subjects.area,
        cost=subjects.cost,
    )


def _sent_code(tx: BaseDBAsyncClient, phone_hash: str, at: datetime, network: str) -> QuerySet[OtpSentRow]:
    """The code that was sent for a challenge."""
    sent = OtpSentRow.filter(phone_hash=phone_hash, at=at).using_db(tx)
    return sent.filter(network=network) if network else sent


async def _load_sent(tx: BaseDBAsyncClient, subjects: OtpCounterKeys, rules: OtpLimits, now: datetime) -> OtpHistory:
    prefix = (rules.prefix,) if rules.prefix else ()
    windows = (rules.number_windows, rules.total, rules.network, prefix)
    since = [now - timedelta(seconds=max((each.seconds for each in some), default=0)) for some in windows]
    most = [max((each.limit for each in some), default=0) for some in windows]
    rows = await fetch(tx, _MOMENTS, subjects.number, subjects.network, subjects.prefix, *since, *most)
    moments = sorted(((to_datetime(row["at"]), row["subject"]) for row in rows), reverse=True)
    return OtpHistory(
        is_proven=await _is_proven(tx, subjects, now),
        number=[at for at, subject in moments if subject == "number"],
        total=[at for at, subject in moments if subject == "total"],
        network=[at for at, subject in moments if subject == "network"],
        prefix=[at for at, subject in moments if subject == "prefix"],
        **(await _area_statistics(tx, subjects, now) if rules.has_breaker else {}),
        **await _spending(tx, subjects.cost, rules.daily_cap, now),
    )


async def _is_proven(tx: BaseDBAsyncClient, subjects: OtpCounterKeys, now: datetime) -> bool:
    since = (now - PROVEN_AGE).date()
    proven = ProvenNetworkRow.filter(phone_hash=subjects.number, network=subjects.network, proven_on__gt=since)
    return await proven.using_db(tx).exists()


async def _area_statistics(tx: BaseDBAsyncClient, subjects: OtpCounterKeys, now: datetime) -> Mapping[str, Any]:
    (row,) = await fetch(tx, _AREA, subjects.area, now - HOUR, now - CODE_LIFETIME)
    paused = row["paused_until"]
    return {
        "area_paused_until": None if paused is None else to_datetime(paused),
        "area_known": row["known"],
        "area_verified": row["verified"],
    }


async def _spending(tx: BaseDBAsyncClient, cost: int, cap: int | None, now: datetime) -> Mapping[str, Any]:
    if cap is None:
        return {}
    (row,) = await fetch(tx, _SPENT, now - DAY)
    spent = int(row["spent"])
    if spent + cost <= cap:
        return {"spent": spent}
    (row,) = await fetch(tx, _LAST_CODE_OVER_CAP, now - DAY, cap - cost)
    return {"spent": spent, "affordable_at": to_datetime(row["at"]) + DAY if row["at"] and cost <= cap else None}
