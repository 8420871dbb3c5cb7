"""Fake of the store of one-time codes, in dictionaries. One asyncio step is one transaction."""

from dataclasses import dataclass
from datetime import date, datetime
from hmac import compare_digest
from uuid import UUID

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


@dataclass(slots=True)
class _Code:
    at: datetime
    subjects: OtpCounterKeys
    is_verified: bool = False
    is_sent: bool = True


class MemoryOtp:
    """OtpStore."""

    def __init__(self) -> None:
        self._challenges: dict[UUID, tuple[Challenge, int]] = {}
        self._codes: dict[UUID, _Code] = {}
        self._paused: dict[str, datetime] = {}
        #: By number and network.
        self._proven: dict[tuple[str, str], date] = {}

    async def open_challenge(
        self, challenge: Challenge, subjects: OtpCounterKeys, rules: OtpLimits
    ) -> OtpAdmission | OtpRefusal:
        now = challenge.created_at
        decision = decide(rules, subjects, await self.load_history(subjects, rules, now), now)
        if isinstance(decision, OtpRefusal):
            if decision.trips_breaker:
                self._paused[subjects.area] = decision.retry_at
            return decision
        self._challenges[challenge.challenge_id] = (challenge, challenge.guesses)
        self._codes[challenge.challenge_id] = _Code(now, subjects)
        return decision

    async def judge_guess(
        self,
        challenge_id: UUID,
        purpose: Purpose,
        code_hashes: CodeHashes,
        now: datetime,
        phone_hashes: PhoneHashes = None,
    ) -> Guess | None:
        known, left = self._challenges.get(challenge_id, (None, 0))
        if known is None or known.purpose is not purpose or left == 0 or known.expires_at <= now:
            return None
        if phone_hashes is not None and known.phone_hash not in phone_hashes:
            return None
        is_right = any(compare_digest(known.code_hash, each) for each in code_hashes)
        self._challenges[challenge_id] = (known, 0 if is_right else left - 1)
        code = self._codes[challenge_id]
        code.is_verified = is_right
        if is_right:
            self._proven[known.phone_hash, code.subjects.network] = now.date()
        return Guess(is_right, left - 1, known.phone_hash, known.phone_sealed)

    async def withdraw_challenge(self, challenge: Challenge, *, is_certain: bool) -> None:
        self._challenges.pop(challenge.challenge_id, None)
        self._codes[challenge.challenge_id].is_sent = not is_certain

    async def load_history(self, subjects: OtpCounterKeys, rules: OtpLimits, now: datetime) -> OtpHistory:
        codes = sorted(self._codes.values(), key=lambda code: code.at, reverse=True)
        hour = [code for code in codes if code.at > now - HOUR and code.is_sent]
        area = [code for code in hour if code.subjects.area == subjects.area]
        total = [code for code in codes if code.subjects.number == subjects.number]
        proven_on = self._proven.get((subjects.number, subjects.network))
        return OtpHistory(
            number=[code.at for code in total if code.subjects.network == subjects.network],
            total=[code.at for code in total],
            is_proven=proven_on is not None and proven_on > (now - PROVEN_AGE).date(),
            network=[code.at for code in codes if code.subjects.network == subjects.network],
            prefix=[code.at for code in hour if code.subjects.prefix == subjects.prefix and not code.is_verified],
            area_known=sum(code.is_verified or code.at <= now - CODE_LIFETIME for code in area),
            area_verified=sum(code.is_verified for code in area),
            area_paused_until=self._paused.get(subjects.area),
            spent=sum(code.subjects.cost for code in codes if code.is_sent and code.at > now - DAY),
            affordable_at=self._affordable_at(subjects.cost, rules, now),
        )

    def _affordable_at(self, cost: int, rules: OtpLimits, now: datetime) -> datetime | None:
        paid = [code for code in self._codes.values() if code.is_sent and code.at > now - DAY]
        moments = sorted(code.at + DAY for code in paid)
        room = (rules.daily_cap or 0) - cost
        return next(
            (at for at in moments if sum(code.subjects.cost for code in paid if code.at + DAY > at) <= room), None
        )
