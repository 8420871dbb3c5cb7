"""One-time-code challenges in the database."""

from datetime import datetime, timedelta
from uuid import UUID

from vyry.accounts.otp import GUESSES, Challenge, Guess, Purpose
from vyry.adapters.database import available, connection, transaction
from vyry.adapters.rows import OtpChallengeRow
from vyry.adapters.statements import fetch, to_moment


class TortoiseOtp:
    """OtpStore on PostgreSQL or SQLite."""

    async def open(self, challenge: Challenge, resend_after: timedelta) -> datetime | None:
        # The first statement decides the race and keeps the number locked until the end of the transaction.
        pace = (
            "INSERT INTO otp_pace (phone_hash, sent_at) VALUES ($1, $2) ON CONFLICT (phone_hash) DO UPDATE"
            " SET sent_at = excluded.sent_at WHERE otp_pace.sent_at <= $3 RETURNING phone_hash"
        )
        number, now = challenge.phone_hash, challenge.created_at
        async with transaction() as inside:
            if not await fetch(inside, pace, number, now, now - resend_after):
                last = await fetch(inside, "SELECT sent_at FROM otp_pace WHERE phone_hash = $1", number)
                return to_moment(last[0]["sent_at"])
            older = "DELETE FROM otp_challenge WHERE phone_hash = $1 AND purpose = $2"
            await fetch(inside, older, number, challenge.purpose.value)
            _ = await OtpChallengeRow.create(
                inside,
                id=challenge.challenge_id,
                phone_hash=number,
                phone_sealed=challenge.phone_sealed,
                purpose=challenge.purpose.value,
                code_hash=challenge.code_hash,
                guesses_left=GUESSES,
                created_at=now,
                expires_at=challenge.expires_at,
            )
        return None

    async def guess(self, challenge_id: UUID, purpose: Purpose, code_hash: bytes, now: datetime) -> Guess | None:
        # One statement counts and judges. It compares keyed hashes, so the time it takes says nothing about the code. An unused
        # challenge that comes back used was used by this very guess.
        judge = (
            "UPDATE otp_challenge SET guesses_left = guesses_left - 1, is_used = (code_hash = $1)"
            " WHERE id = $2 AND purpose = $3 AND guesses_left > 0 AND NOT is_used AND expires_at > $4"
            " RETURNING is_used, guesses_left, phone_hash, phone_sealed"
        )
        async with available():
            found = await fetch(connection(), judge, code_hash, challenge_id, purpose.value, now)
        if not found:
            return None
        row = found[0]
        return Guess(bool(row["is_used"]), row["guesses_left"], row["phone_hash"], row["phone_sealed"])

    async def withdraw(self, challenge_id: UUID) -> None:
        async with available():
            await OtpChallengeRow.filter(id=challenge_id).delete()
