"""Codes for tests of stores: two numbers, a right and a wrong hash, and what a code is counted by."""

from datetime import datetime, timedelta

from tests.support.account_harness import AccountStores
from tests.support.fake_clock import NOON
from vyry.accounts.otp import GUESSES, Challenge, Guess, Purpose
from vyry.accounts.otp_limits import OtpAdmission, OtpCounterKeys, OtpLimits, OtpRefusal
from vyry.kernel.ids import new_id


RIGHT_HASH, WRONG_HASH = b"r" * 32, b"w" * 32
ANN_NUMBER, BO_NUMBER = "a" * 64, "b" * 64


def make_challenge(
    number: str = ANN_NUMBER, purpose: Purpose = Purpose.LOGIN, at: datetime = NOON, guesses: int = GUESSES
) -> Challenge:
    """A sent code."""
    return Challenge(new_id(), number, b"sealed", purpose, RIGHT_HASH, at, at + timedelta(seconds=180), guesses)


def hash_of(number: int) -> str:
    """The hash of a number, a network or a prefix of tests."""
    return f"{number:064x}"


def make_subjects(
    number: str = ANN_NUMBER, network: int = 1, prefix: int = 2, area: int = 3, cost: int = 0
) -> OtpCounterKeys:
    """What a code is counted by."""
    return OtpCounterKeys(number, hash_of(network), hash_of(prefix), hash_of(area), cost)


async def request_code(
    stores: AccountStores, whom: OtpCounterKeys, rules: OtpLimits, at: datetime = NOON
) -> OtpAdmission | OtpRefusal:
    """Ask for a code."""
    return await stores.otp.open_challenge(make_challenge(whom.number, at=at), whom, rules)


async def guess_code(stores: AccountStores, which: Challenge, code: bytes, at: datetime = NOON) -> Guess | None:
    """Guess."""
    return await stores.otp.judge_guess(which.challenge_id, which.purpose, (code, code), at)
