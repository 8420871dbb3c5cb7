"""Contract of OtpStore for challenges and guesses; test_otp_limits.py has the limits."""

import asyncio
from datetime import datetime, timedelta

from tests.support.account_harness import AccountStores
from tests.support.fake_clock import NOON
from tests.support.otp_challenges import (
    ANN_NUMBER,
    BO_NUMBER,
    RIGHT_HASH,
    WRONG_HASH,
    guess_code,
    make_challenge,
    make_subjects,
)
from vyry.accounts.otp import GUESSES, Challenge, Guess, Purpose
from vyry.accounts.otp_limits import RESEND_AFTER, UNLIMITED, OtpAdmission


async def opened(stores: AccountStores, which: Challenge | None = None) -> Challenge:
    """An open challenge."""
    which = which or make_challenge()
    assert isinstance(await stores.otp.open_challenge(which, make_subjects(which.phone_hash), UNLIMITED), OtpAdmission)
    return which


async def test_the_right_code_is_good_once(stores: AccountStores) -> None:
    sent = await opened(stores)

    first = await guess_code(stores, sent, RIGHT_HASH)

    assert first == Guess(is_right=True, guesses_left=GUESSES - 1, phone_hash=ANN_NUMBER, phone_sealed=b"sealed")
    assert await guess_code(stores, sent, RIGHT_HASH) is None


async def test_a_wrong_code_costs_a_guess_and_the_sixth_is_not_judged(stores: AccountStores) -> None:
    sent = await opened(stores)

    guesses = [await guess_code(stores, sent, WRONG_HASH) for _ in range(GUESSES)]

    assert [guess and (guess.is_right, guess.guesses_left) for guess in guesses] == [
        (False, left) for left in (4, 3, 2, 1, 0)
    ]
    assert await guess_code(stores, sent, RIGHT_HASH) is None


async def test_a_code_made_under_the_pepper_before_is_right_too(stores: AccountStores) -> None:
    sent = await opened(stores)

    guess = await stores.otp.judge_guess(sent.challenge_id, sent.purpose, (WRONG_HASH, RIGHT_HASH), NOON)

    assert guess is not None
    assert guess.is_right


async def test_fifty_right_guesses_at_once_succeed_once(stores: AccountStores) -> None:
    sent = await opened(stores)

    guesses = await asyncio.gather(*(guess_code(stores, sent, RIGHT_HASH) for _ in range(50)))

    assert [guess is not None and guess.is_right for guess in guesses].count(True) == 1


async def test_of_sixty_wrong_guesses_at_once_five_are_judged(stores: AccountStores) -> None:
    sent = await opened(stores)

    guesses = await asyncio.gather(*(guess_code(stores, sent, WRONG_HASH) for _ in range(60)))

    assert sorted(guess.guesses_left for guess in guesses if guess) == [0, 1, 2, 3, 4]


async def test_an_expired_code_is_nothing(stores: AccountStores) -> None:
    sent = await opened(stores)

    assert await guess_code(stores, sent, RIGHT_HASH, sent.expires_at) is None
    assert await guess_code(stores, sent, RIGHT_HASH, sent.expires_at - timedelta(milliseconds=1)) is not None


async def test_a_code_for_one_purpose_is_nothing_for_another_and_loses_no_guess(stores: AccountStores) -> None:
    sent = await opened(stores)

    strayed = await stores.otp.judge_guess(sent.challenge_id, Purpose.PIN_RESET, (RIGHT_HASH, RIGHT_HASH), NOON)

    assert strayed is None
    assert (await guess_code(stores, sent, WRONG_HASH)) == Guess(
        is_right=False, guesses_left=GUESSES - 1, phone_hash=ANN_NUMBER, phone_sealed=b"sealed"
    )


async def test_a_code_for_another_number_is_nothing_and_loses_no_guess(stores: AccountStores) -> None:
    sent = await opened(stores, make_challenge(purpose=Purpose.PIN_RESET))

    strayed = await stores.otp.judge_guess(sent.challenge_id, sent.purpose, (RIGHT_HASH, RIGHT_HASH), NOON, [BO_NUMBER])
    own = await stores.otp.judge_guess(
        sent.challenge_id, sent.purpose, (RIGHT_HASH, RIGHT_HASH), NOON, [BO_NUMBER, ANN_NUMBER]
    )

    assert strayed is None
    assert own == Guess(is_right=True, guesses_left=GUESSES - 1, phone_hash=ANN_NUMBER, phone_sealed=b"sealed")


async def test_a_new_code_leaves_the_older_ones_good_to_their_ends(stores: AccountStores) -> None:
    old = await opened(stores)
    other = await opened(stores, make_challenge(purpose=Purpose.PIN_RESET, at=NOON + RESEND_AFTER))

    new = await opened(stores, make_challenge(at=NOON + RESEND_AFTER * 2))

    assert all([await guess_code(stores, each, RIGHT_HASH) for each in (old, other, new)])


async def test_wrong_guesses_at_one_challenge_cost_the_others_of_the_number_nothing(stores: AccountStores) -> None:
    owners, strangers = [await opened(stores) for _ in range(2)]

    for _ in range(GUESSES + 1):
        await guess_code(stores, strangers, WRONG_HASH)
    guess = await guess_code(stores, owners, RIGHT_HASH)

    assert guess is not None
    assert (guess.is_right, guess.guesses_left) == (True, GUESSES - 1)


async def test_codes_sent_at_once_are_all_good(stores: AccountStores) -> None:
    sent = await asyncio.gather(*(opened(stores) for _ in range(20)))

    guesses = [await guess_code(stores, each, RIGHT_HASH) for each in sent]

    assert all(guess is not None and guess.is_right for guess in guesses)


async def test_a_withdrawn_code_is_nothing(stores: AccountStores) -> None:
    sent = await opened(stores)

    await stores.otp.withdraw_challenge(sent, is_certain=False)

    assert await guess_code(stores, sent, RIGHT_HASH) is None


async def test_a_node_says_how_many_guesses_there_are(stores: AccountStores) -> None:
    sent = await opened(stores, make_challenge(guesses=2))

    guesses = [await guess_code(stores, sent, WRONG_HASH) for _ in range(3)]

    assert [guess and guess.guesses_left for guess in guesses] == [1, 0, None]


def test_a_challenge_shows_neither_code_nor_number() -> None:
    moment: datetime = NOON

    assert repr(make_challenge(at=moment)).count("sealed=") == 0
    assert "rrrr" not in repr(make_challenge())
