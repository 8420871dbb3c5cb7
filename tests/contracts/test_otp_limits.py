"""What every store of one-time codes promises about how many are sent: decided one after the other, by what is in the database."""

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.account_room import NOON, AccountStores
from tests.contracts.otp_room import ANN, BO, RIGHT, challenge, hashed, sent, subjects, tried
from vyry.accounts.otp import Purpose
from vyry.accounts.sending import (
    BREAKER_CODES,
    CODE_LIFETIME,
    DAY,
    HOUR,
    RESEND_AFTER,
    UNLIMITED,
    Admitted,
    Limit,
    Refusal,
    Rules,
)
from vyry.limits import OTP_NETWORK, OTP_NUMBER, Grant, Window


RULES = Rules()
SPEND = Rules(number=(), network=(), prefix=None, has_breaker=False, daily_cap=100)


async def refused(stores: AccountStores, number: str, at: datetime, rules: Rules = RULES, **more: int) -> Refusal:
    """A request that is refused."""
    answer = await sent(stores, subjects(number, **more), rules, at)
    assert isinstance(answer, Refusal)
    return answer


async def test_a_number_is_paced_over_all_purposes(stores: AccountStores) -> None:
    await sent(stores, subjects(), RULES)
    soon = challenge(purpose=Purpose.DELETE_ACCOUNT, at=NOON + RESEND_AFTER - timedelta(milliseconds=1))

    answer = await stores.otp.open(soon, subjects(), RULES)

    assert answer == Refusal(Limit.NUMBER, NOON + RESEND_AFTER, Window(1, 30))
    assert isinstance(await sent(stores, subjects(BO), RULES), Admitted)
    assert isinstance(await sent(stores, subjects(), RULES, NOON + RESEND_AFTER), Admitted)


async def test_a_number_is_sent_three_codes_in_ten_minutes_and_ten_a_day(stores: AccountStores) -> None:
    moments: list[datetime] = []
    now = NOON
    while len(moments) < 10:
        answer = await sent(stores, subjects(network=len(moments)), RULES, now)
        if isinstance(answer, Admitted):
            moments.append(now)
        now = max(now + RESEND_AFTER, answer.retry_at if isinstance(answer, Refusal) else now)

    assert moments[3] - moments[0] == timedelta(minutes=10)
    assert moments[9] - moments[0] == timedelta(minutes=30)
    assert (await refused(stores, ANN, now, network=99)).retry_at == NOON + DAY
    assert isinstance(await sent(stores, subjects(network=99), RULES, NOON + DAY), Admitted)


async def test_a_network_asks_for_ten_codes_in_ten_minutes(stores: AccountStores) -> None:
    for number in range(10):
        await sent(stores, subjects(hashed(number), prefix=number), RULES, NOON + timedelta(seconds=number))

    answer = await refused(stores, ANN, NOON + timedelta(seconds=10))

    assert answer == Refusal(Limit.NETWORK, NOON + timedelta(minutes=10), OTP_NETWORK.windows[0])
    assert isinstance(await sent(stores, subjects(network=2), RULES), Admitted)


async def test_fifty_requests_of_one_network_at_once_get_exactly_ten_codes(stores: AccountStores) -> None:
    asked = (sent(stores, subjects(hashed(number), prefix=number), RULES) for number in range(50))

    answers = await asyncio.gather(*asked)

    assert [type(answer) for answer in answers].count(Admitted) == 10
    assert {answer.retry_at for answer in answers if isinstance(answer, Refusal)} == {NOON + timedelta(minutes=10)}


async def test_requests_for_one_number_at_once_get_exactly_one_code(stores: AccountStores) -> None:
    answers = await asyncio.gather(*(sent(stores, subjects(network=number), RULES) for number in range(30)))

    assert [type(answer) for answer in answers].count(Admitted) == 1


async def test_what_is_left_is_told_and_asking_takes_nothing(stores: AccountStores) -> None:
    answer = await sent(stores, subjects(), RULES)

    known = [await stores.otp.sent(subjects(), RULES, NOON) for _ in range(2)]

    assert answer == Admitted(Grant(1, 0, 30, 30), Grant(10, 9, 600, 600))
    assert [(each.number, each.network) for each in known] == [([NOON], [NOON])] * 2


async def test_a_prefix_gets_twenty_codes_an_hour_that_nobody_verifies(stores: AccountStores) -> None:
    asked = (sent(stores, subjects(hashed(number), network=number), RULES) for number in range(40))

    answers = await asyncio.gather(*asked)

    assert [type(answer) for answer in answers].count(Admitted) == 20
    assert (await refused(stores, ANN, NOON, network=99)).retry_at == NOON + HOUR
    assert isinstance(await sent(stores, subjects(ANN, network=99, prefix=4), RULES), Admitted)


async def test_people_who_verify_their_codes_use_up_no_prefix(stores: AccountStores) -> None:
    for number in range(25):
        code = challenge(hashed(number))
        assert isinstance(await stores.otp.open(code, subjects(hashed(number), network=number), RULES), Admitted)
        await tried(stores, code, RIGHT)

    assert isinstance(await sent(stores, subjects(network=99), RULES), Admitted)


@pytest.mark.parametrize(("verified", "is_paused"), [(9, True), (10, False)])
async def test_an_area_where_few_codes_are_verified_is_paused_for_an_hour(
    stores: AccountStores, verified: int, *, is_paused: bool
) -> None:
    for number in range(BREAKER_CODES):
        code, whom = challenge(hashed(number)), subjects(hashed(number), network=number, prefix=number)
        await stores.otp.open(code, whom, RULES)
        if number < verified:
            await tried(stores, code, RIGHT)
    late = NOON + CODE_LIFETIME

    answers = [await sent(stores, subjects(network=99, prefix=prefix), RULES, late) for prefix in (99, 100)]

    tripped = [Refusal(Limit.AREA, late + HOUR, is_trip=True), Refusal(Limit.AREA, late + HOUR)]
    assert (answers == tripped) is is_paused
    assert isinstance(await sent(stores, subjects(BO, 100, 101, area=4), RULES, late), Admitted)
    assert isinstance(await sent(stores, subjects(network=101, prefix=102), RULES, late + HOUR), Admitted)


async def test_codes_that_may_still_be_verified_do_not_pause_an_area(stores: AccountStores) -> None:
    for number in range(BREAKER_CODES):
        await sent(stores, subjects(hashed(number), network=number, prefix=number), RULES)

    soon = NOON + CODE_LIFETIME - timedelta(milliseconds=1)

    assert isinstance(await sent(stores, subjects(network=99, prefix=99), RULES, soon), Admitted)


async def test_no_more_is_spent_in_a_day_than_the_cap_also_at_once(stores: AccountStores) -> None:
    asked = (sent(stores, subjects(hashed(number), cost=30), SPEND) for number in range(20))

    answers = await asyncio.gather(*asked)

    assert [type(answer) for answer in answers].count(Admitted) == 3
    assert {answer for answer in answers if isinstance(answer, Refusal)} == {Refusal(Limit.SPEND, NOON + DAY)}


async def test_the_wait_is_until_enough_of_the_day_is_over(stores: AccountStores) -> None:
    for hours, cost in enumerate((10, 50, 30)):
        await sent(stores, subjects(hashed(hours), cost=cost), SPEND, NOON + HOUR * hours)

    waits = [await refused(stores, ANN, NOON + HOUR * 3, SPEND, cost=cost) for cost in (15, 20, 21, 71, 101)]

    assert [(answer.retry_at - NOON - DAY) / HOUR for answer in waits] == [0, 0, 1, 2, 3]
    assert isinstance(await sent(stores, subjects(cost=20), SPEND, NOON + DAY), Admitted)


async def test_a_code_surely_not_sent_counts_for_the_pace_alone(stores: AccountStores) -> None:
    code, whom = challenge(), subjects(cost=100)
    await stores.otp.open(code, whom, SPEND)

    await stores.otp.withdraw(code, is_certain=True)

    known = await stores.otp.sent(whom, Rules(daily_cap=100), NOON)
    assert (known.number, known.network, list(known.prefix), known.spent) == ([NOON], [NOON], [], 0)
    assert isinstance(await sent(stores, subjects(BO, cost=100), SPEND), Admitted)


async def test_a_code_perhaps_sent_is_paid_for(stores: AccountStores) -> None:
    code = challenge()
    await stores.otp.open(code, subjects(cost=100), SPEND)

    await stores.otp.withdraw(code, is_certain=False)

    assert (await refused(stores, BO, NOON, SPEND, cost=1)).limit is Limit.SPEND


async def test_without_limits_only_money_counts(stores: AccountStores) -> None:
    answers = [await sent(stores, subjects(), UNLIMITED) for _ in range(60)]

    assert {type(answer) for answer in answers} == {Admitted}


async def test_a_number_keeps_its_pace_under_any_setting(stores: AccountStores) -> None:
    generous = Rules(number=(Window(1000, 60),), network=OTP_NUMBER.windows[:0], prefix=None)
    await sent(stores, subjects(), generous)

    assert (await refused(stores, ANN, NOON, generous)).retry_at == NOON + RESEND_AFTER
