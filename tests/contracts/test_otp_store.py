"""What every store of one-time codes promises."""

import asyncio
from datetime import datetime, timedelta

from tests.account_room import NOON, AccountStores
from vyry.accounts.otp import GUESSES, RESEND_AFTER, Challenge, Guess, Purpose
from vyry.ids import new_id


RIGHT, WRONG = b"r" * 32, b"w" * 32
ANN, BO = "a" * 64, "b" * 64


def challenge(number: str = ANN, purpose: Purpose = Purpose.LOGIN, at: datetime = NOON) -> Challenge:
    """A sent code."""
    return Challenge(new_id(), number, b"sealed", purpose, RIGHT, at, at + timedelta(seconds=180))


async def opened(stores: AccountStores, which: Challenge | None = None) -> Challenge:
    """A challenge that waits for guesses."""
    which = which or challenge()
    assert await stores.otp.open(which, RESEND_AFTER) is None
    return which


async def tried(stores: AccountStores, which: Challenge, code: bytes, at: datetime = NOON) -> Guess | None:
    return await stores.otp.guess(which.challenge_id, which.purpose, code, at)


async def test_the_right_code_is_good_once(stores: AccountStores) -> None:
    sent = await opened(stores)

    first = await tried(stores, sent, RIGHT)

    assert first == Guess(is_right=True, guesses_left=GUESSES - 1, phone_hash=ANN, phone_sealed=b"sealed")
    assert await tried(stores, sent, RIGHT) is None


async def test_a_wrong_code_costs_a_guess_and_the_sixth_is_not_judged(stores: AccountStores) -> None:
    sent = await opened(stores)

    guesses = [await tried(stores, sent, WRONG) for _ in range(GUESSES)]

    assert [guess and (guess.is_right, guess.guesses_left) for guess in guesses] == [
        (False, left) for left in (4, 3, 2, 1, 0)
    ]
    assert await tried(stores, sent, RIGHT) is None


async def test_fifty_right_guesses_at_once_succeed_once(stores: AccountStores) -> None:
    sent = await opened(stores)

    guesses = await asyncio.gather(*(tried(stores, sent, RIGHT) for _ in range(50)))

    assert [guess is not None and guess.is_right for guess in guesses].count(True) == 1


async def test_of_sixty_wrong_guesses_at_once_five_are_judged(stores: AccountStores) -> None:
    sent = await opened(stores)

    guesses = await asyncio.gather(*(tried(stores, sent, WRONG) for _ in range(60)))

    assert sorted(guess.guesses_left for guess in guesses if guess) == [0, 1, 2, 3, 4]


async def test_an_expired_code_is_nothing(stores: AccountStores) -> None:
    sent = await opened(stores)

    assert await tried(stores, sent, RIGHT, sent.expires_at) is None
    assert await tried(stores, sent, RIGHT, sent.expires_at - timedelta(milliseconds=1)) is not None


async def test_a_code_for_one_purpose_is_nothing_for_another_and_loses_no_guess(stores: AccountStores) -> None:
    sent = await opened(stores)

    strayed = await stores.otp.guess(sent.challenge_id, Purpose.PIN_RESET, RIGHT, NOON)

    assert strayed is None
    assert (await tried(stores, sent, WRONG)) == Guess(
        is_right=False, guesses_left=GUESSES - 1, phone_hash=ANN, phone_sealed=b"sealed"
    )


async def test_a_new_code_kills_the_older_of_its_purpose_only(stores: AccountStores) -> None:
    old = await opened(stores)
    other = await opened(stores, challenge(purpose=Purpose.PIN_RESET, at=NOON + RESEND_AFTER))
    strangers = await opened(stores, challenge(BO))

    new = await opened(stores, challenge(at=NOON + RESEND_AFTER * 2))

    assert await tried(stores, old, RIGHT) is None
    assert all([await tried(stores, each, RIGHT) for each in (other, strangers, new)])


async def test_a_number_is_paced_over_all_purposes(stores: AccountStores) -> None:
    sent = await opened(stores)
    soon = NOON + RESEND_AFTER - timedelta(milliseconds=1)

    refused = await stores.otp.open(challenge(purpose=Purpose.DELETE_ACCOUNT, at=soon), RESEND_AFTER)

    assert refused == NOON
    assert await stores.otp.open(challenge(BO, at=soon), RESEND_AFTER) is None
    assert await tried(stores, sent, RIGHT) is not None


async def test_of_parallel_codes_for_a_number_one_is_sent(stores: AccountStores) -> None:
    outcomes = await asyncio.gather(*(stores.otp.open(challenge(), RESEND_AFTER) for _ in range(30)))

    assert outcomes.count(None) == 1
    assert outcomes.count(NOON) == 29


async def test_a_withdrawn_code_is_nothing_but_the_pace_stands(stores: AccountStores) -> None:
    sent = await opened(stores)

    await stores.otp.withdraw(sent.challenge_id)

    assert await tried(stores, sent, RIGHT) is None
    assert await stores.otp.open(challenge(at=NOON + timedelta(seconds=1)), RESEND_AFTER) == NOON
