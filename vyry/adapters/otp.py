"""One-time-code challenges in the database, and what was sent."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.otp import Challenge, CodeHashes, Guess, Numbers, Purpose
from vyry.accounts.sending import CODE_LIFETIME, DAY, HOUR, PROVEN_AGE, Admitted, Refusal, Rules, Sent, Subjects, decide
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.rows import OtpChallengeRow
from vyry.adapters.statements import fetch, to_moment


#: The lock that everybody takes who spends, on PostgreSQL.
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
_IS_PROVEN: Final = "SELECT 1 FROM proven_network WHERE phone_hash = $1 AND network = $2 AND proven_on > $3"
_AREA: Final = """
SELECT (SELECT until FROM otp_breaker WHERE area = $1) AS paused_until,
       (SELECT COUNT(*) FROM otp_sent WHERE area = $1 AND at > $2 AND (is_verified OR at <= $3)) AS known,
       (SELECT COUNT(*) FROM otp_sent WHERE area = $1 AND at > $2 AND is_verified) AS verified
"""
_SPENT: Final = "SELECT COALESCE(SUM(cost), 0) AS spent FROM otp_sent WHERE at > $1"
#: The newest code that has to be a day old before so much less is spent than now.
_IN_THE_WAY: Final = """
SELECT MAX(at) AS at
FROM (SELECT at, SUM(cost) OVER (ORDER BY at DESC, id DESC) AS spent_since FROM otp_sent WHERE at > $1 AND cost > 0) AS spending
WHERE spent_since > $2
"""
_TRIP: Final = """
INSERT INTO otp_breaker (area, until) VALUES ($1, $2) ON CONFLICT (area) DO UPDATE SET until = excluded.until RETURNING area
"""
_COUNT: Final = """
INSERT INTO otp_sent (at, phone_hash, network, prefix, area, cost, is_verified) VALUES ($1, $2, $3, $4, $5, $6, FALSE) RETURNING id
"""
#: One statement counts and judges. It compares keyed hashes, so the time it takes says nothing about the code. An unused challenge that comes back used
#: was used by this very guess.
_JUDGE: Final = """
UPDATE otp_challenge SET guesses_left = guesses_left - 1, is_used = (code_hash IN ($1, $2))
WHERE id = $3 AND purpose = $4 AND guesses_left > 0 AND NOT is_used AND expires_at > $5
"""
_OF: Final = " AND phone_hash = ANY($6)"
_JUDGED: Final = " RETURNING is_used, guesses_left, phone_hash, phone_sealed, network, created_at"
#: Which code it was. A node of the release before stores no network with its challenges.
_WHICH: Final = " WHERE phone_hash = $1 AND at = $2 AND (network = $3 OR $3 = '') RETURNING id"
_VERIFIED: Final = "UPDATE otp_sent SET is_verified = TRUE" + _WHICH
_PROVEN: Final = """
INSERT INTO proven_network (phone_hash, network, proven_on) VALUES ($1, $2, $3)
ON CONFLICT (phone_hash, network) DO UPDATE SET proven_on = excluded.proven_on RETURNING id
"""
#: A code that was not sent costs nothing and says nothing about its prefix.
_NOT_SENT: Final = "UPDATE otp_sent SET cost = 0, prefix = '', area = ''" + _WHICH
_WITHDRAW: Final = "DELETE FROM otp_challenge WHERE id = $1 RETURNING network"


class TortoiseOtp:
    """OtpStore on PostgreSQL or SQLite."""

    async def open(self, challenge: Challenge, subjects: Subjects, rules: Rules) -> Admitted | Refusal:
        now = challenge.created_at
        async with transaction() as inside:
            await _lock(inside, subjects, rules)
            decision = decide(rules, subjects, await _sent(inside, subjects, rules, now), now)
            if isinstance(decision, Admitted):
                await _store(inside, challenge, subjects)
            elif decision.is_trip:
                await fetch(inside, _TRIP, subjects.area, decision.retry_at)
        return decision

    async def guess(
        self, challenge_id: UUID, purpose: Purpose, code_hashes: CodeHashes, now: datetime, of: Numbers = None
    ) -> Guess | None:
        values = (*code_hashes, challenge_id, purpose.value, now)
        async with transaction() as inside:
            if of is None:
                found = await fetch(inside, _JUDGE + _JUDGED, *values)
            else:
                found = await fetch(inside, _JUDGE + _OF + _JUDGED, *values, list(of))
            if not found:
                return None
            row = found[0]
            if row["is_used"]:
                await fetch(inside, _VERIFIED, row["phone_hash"], to_moment(row["created_at"]), row["network"])
                if row["network"]:
                    await fetch(inside, _PROVEN, row["phone_hash"], row["network"], now.date())
        return Guess(bool(row["is_used"]), row["guesses_left"], row["phone_hash"], row["phone_sealed"])

    async def withdraw(self, challenge: Challenge, *, is_certain: bool) -> None:
        async with transaction() as inside:
            for row in await fetch(inside, _WITHDRAW, challenge.challenge_id):
                if is_certain:
                    await fetch(inside, _NOT_SENT, challenge.phone_hash, challenge.created_at, row["network"])

    async def sent(self, subjects: Subjects, rules: Rules, now: datetime) -> Sent:
        async with available():
            return await _sent(connection(), subjects, rules, now)


async def _lock(inside: BaseDBAsyncClient, subjects: Subjects, rules: Rules) -> None:
    """Keep everybody else waiting who is counted by one of these; on SQLite a transaction is alone from its beginning."""
    if inside.capabilities.dialect == "sqlite":
        return
    named = [subjects.number]
    named += [subjects.network] if rules.network else []
    named += [subjects.prefix] if rules.prefix else []
    named += [subjects.area] if rules.has_breaker else []
    locks = {int.from_bytes(bytes.fromhex(each)[:8], signed=True) for each in named}
    if rules.daily_cap is not None:
        locks.add(_SPENDING)
    # In one order for everybody, so that nobody waits in a circle.
    await fetch(inside, _LOCK, sorted(locks))


async def _store(inside: BaseDBAsyncClient, challenge: Challenge, subjects: Subjects) -> None:
    _ = await OtpChallengeRow.create(
        inside,
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
    counted = (subjects.number, subjects.network, subjects.prefix, subjects.area, subjects.cost)
    await fetch(inside, _COUNT, challenge.created_at, *counted)


async def _sent(client: BaseDBAsyncClient, subjects: Subjects, rules: Rules, now: datetime) -> Sent:
    prefix = (rules.prefix,) if rules.prefix else ()
    windows = (rules.of_number, rules.total, rules.network, prefix)
    since = [now - timedelta(seconds=max((each.seconds for each in some), default=0)) for some in windows]
    most = [max((each.limit for each in some), default=0) for some in windows]
    rows = await fetch(client, _MOMENTS, subjects.number, subjects.network, subjects.prefix, *since, *most)
    moments = sorted(((to_moment(row["at"]), row["subject"]) for row in rows), reverse=True)
    return Sent(
        is_proven=await _is_proven(client, subjects, now),
        number=[at for at, subject in moments if subject == "number"],
        total=[at for at, subject in moments if subject == "total"],
        network=[at for at, subject in moments if subject == "network"],
        prefix=[at for at, subject in moments if subject == "prefix"],
        **(await _area(client, subjects, now) if rules.has_breaker else {}),
        **await _spent(client, subjects.cost, rules.daily_cap, now),
    )


async def _is_proven(client: BaseDBAsyncClient, subjects: Subjects, now: datetime) -> bool:
    return bool(await fetch(client, _IS_PROVEN, subjects.number, subjects.network, (now - PROVEN_AGE).date()))


async def _area(client: BaseDBAsyncClient, subjects: Subjects, now: datetime) -> Mapping[str, Any]:
    (row,) = await fetch(client, _AREA, subjects.area, now - HOUR, now - CODE_LIFETIME)
    paused = row["paused_until"]
    return {
        "area_paused_until": None if paused is None else to_moment(paused),
        "area_known": row["known"],
        "area_verified": row["verified"],
    }


async def _spent(client: BaseDBAsyncClient, cost: int, cap: int | None, now: datetime) -> Mapping[str, Any]:
    if cap is None:
        return {}
    (row,) = await fetch(client, _SPENT, now - DAY)
    spent = int(row["spent"])
    if spent + cost <= cap:
        return {"spent": spent}
    (row,) = await fetch(client, _IN_THE_WAY, now - DAY, cap - cost)
    return {"spent": spent, "affordable_at": to_moment(row["at"]) + DAY if row["at"] and cost <= cap else None}
