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
    PROVEN_AGE,
    RESEND_AFTER,
    UNLIMITED,
    Admitted,
    Limit,
    Refusal,
    Rules,
)
from vyry.limits import OTP_NETWORK, OTP_NUMBER, OTP_TOTAL, Grant, Window


RULES = Rules()
NUMBERS = Rules(prefix=None, has_breaker=False)
SPEND = Rules(number=(), total=(), network=(), prefix=None, has_breaker=False, daily_cap=100)


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


async def test_a_network_gets_three_codes_for_a_number_in_ten_minutes_and_ten_a_day(stores: AccountStores) -> None:
    moments: list[datetime] = []
    now = NOON
    while len(moments) < 10:
        answer = await sent(stores, subjects(), RULES, now)
        if isinstance(answer, Admitted):
            moments.append(now)
        now = max(now + RESEND_AFTER, answer.retry_at if isinstance(answer, Refusal) else now)

    assert moments[3] - moments[0] == timedelta(minutes=10)
    assert moments[9] - moments[0] == timedelta(minutes=30)
    assert (await refused(stores, ANN, now)).retry_at == NOON + DAY
    assert isinstance(await sent(stores, subjects(network=99), RULES, now), Admitted)
    assert isinstance(await sent(stores, subjects(), RULES, NOON + DAY), Admitted)


async def test_who_asks_elsewhere_takes_nothing_of_what_a_network_gets_for_a_number(stores: AccountStores) -> None:
    for minute in range(3):
        assert isinstance(await sent(stores, subjects(network=9), RULES, NOON + timedelta(minutes=minute)), Admitted)

    late = NOON + timedelta(minutes=3)
    own = [await sent(stores, subjects(), RULES, late + RESEND_AFTER * each) for each in range(3)]

    assert (await refused(stores, ANN, late, network=9)).limit is Limit.NUMBER
    assert all(isinstance(answer, Admitted) for answer in own)


async def test_a_number_is_sent_twelve_codes_in_ten_minutes_and_thirty_a_day_over_all_networks(
    stores: AccountStores,
) -> None:
    answers = []
    for day_part in range(4):
        now = NOON + timedelta(minutes=10) * day_part
        asked = (sent(stores, subjects(network=day_part * 50 + each), NUMBERS, now) for each in range(50))
        answers.append(await asyncio.gather(*asked))

    counts = [[type(answer) for answer in some].count(Admitted) for some in answers]
    refusals = [{answer for answer in some if isinstance(answer, Refusal)} for some in answers]
    assert counts == [12, 12, 6, 0]
    assert refusals[0] == {Refusal(Limit.TOTAL, NOON + timedelta(minutes=10), OTP_TOTAL.windows[0])}
    assert refusals[3] == {Refusal(Limit.TOTAL, NOON + DAY, OTP_TOTAL.windows[1])}


async def test_a_network_where_the_number_was_proven_gets_its_code_whatever_all_others_ask_for(
    stores: AccountStores,
) -> None:
    code = challenge()
    await stores.otp.open(code, subjects(), RULES)
    await tried(stores, code, RIGHT)
    late = NOON + CODE_LIFETIME
    # All others fill what is counted for the number, for its prefix, and pause its area.
    for number in range(BREAKER_CODES + 10):
        await sent(
            stores, subjects(hashed(number) if number > 30 else ANN, 100 + number, 2 + number // 15), RULES, late
        )

    others = await refused(stores, ANN, late + CODE_LIFETIME, network=99)
    own = await sent(stores, subjects(), RULES, late + CODE_LIFETIME)

    assert others.limit in (Limit.TOTAL, Limit.AREA)
    assert isinstance(own, Admitted)
    assert (await refused(stores, ANN, late + CODE_LIFETIME)).limit is Limit.NUMBER


async def test_a_network_is_forgotten_half_a_year_after_the_number_was_proven_there(stores: AccountStores) -> None:
    code = challenge()
    await stores.otp.open(code, subjects(), RULES)
    await tried(stores, code, RIGHT)

    proven = [
        (await stores.otp.sent(whom, RULES, at)).is_proven
        for whom, at in (
            (subjects(), NOON + PROVEN_AGE - DAY),
            (subjects(), NOON + PROVEN_AGE),
            (subjects(network=9), NOON),
            (subjects(BO), NOON),
        )
    ]

    assert proven == [True, False, False, False]


async def test_a_wrong_code_proves_no_network(stores: AccountStores) -> None:
    code = challenge()
    await stores.otp.open(code, subjects(), RULES)

    await tried(stores, code, b"w" * 32)

    assert not (await stores.otp.sent(subjects(), RULES, NOON)).is_proven


async def test_fifty_requests_of_one_network_for_one_number_at_once_get_exactly_one_code(
    stores: AccountStores,
) -> None:
    answers = await asyncio.gather(*(sent(stores, subjects(), RULES) for _ in range(50)))

    assert [type(answer) for answer in answers].count(Admitted) == 1


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
    generous = Rules(number=(Window(1000, 60),), total=(), network=OTP_NUMBER.windows[:0], prefix=None)
    await sent(stores, subjects(), generous)

    assert (await refused(stores, ANN, NOON, generous)).retry_at == NOON + RESEND_AFTER
