"""Codes for tests of stores: two numbers, a right and a wrong hash, and what a code is counted by."""

from datetime import datetime, timedelta

from tests.account_room import NOON, AccountStores
from vyry.accounts.otp import GUESSES, Challenge, Guess, Purpose
from vyry.accounts.sending import Admitted, Refusal, Rules, Subjects
from vyry.ids import new_id


RIGHT, WRONG = b"r" * 32, b"w" * 32
ANN, BO = "a" * 64, "b" * 64


def challenge(
    number: str = ANN, purpose: Purpose = Purpose.LOGIN, at: datetime = NOON, guesses: int = GUESSES
) -> Challenge:
    """A sent code."""
    return Challenge(new_id(), number, b"sealed", purpose, RIGHT, at, at + timedelta(seconds=180), guesses)


def hashed(number: int) -> str:
    """The hash of a number, a network or a prefix of tests."""
    return f"{number:064x}"


def subjects(number: str = ANN, network: int = 1, prefix: int = 2, area: int = 3, cost: int = 0) -> Subjects:
    """What a code is counted by."""
    return Subjects(number, hashed(network), hashed(prefix), hashed(area), cost)


async def sent(stores: AccountStores, whom: Subjects, rules: Rules, at: datetime = NOON) -> Admitted | Refusal:
    """Ask for a code."""
    return await stores.otp.open(challenge(whom.number, at=at), whom, rules)


async def tried(stores: AccountStores, which: Challenge, code: bytes, at: datetime = NOON) -> Guess | None:
    """Guess."""
    return await stores.otp.guess(which.challenge_id, which.purpose, (code, code), at)
