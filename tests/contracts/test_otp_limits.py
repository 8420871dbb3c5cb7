"""Contract of OtpStore for the limits on sent codes: decisions are serialised, by the history in the database."""

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.support.account_harness import AccountStores
from tests.support.fake_clock import NOON
from tests.support.otp_challenges import (
    ANN_NUMBER,
    BO_NUMBER,
    RIGHT_HASH,
    guess_code,
    hash_of,
    make_challenge,
    make_subjects,
    request_code,
)
from vyry.accounts.otp import Purpose
from vyry.accounts.otp_limits import (
    BREAKER_CODES,
    CODE_LIFETIME,
    DAY,
    HOUR,
    PROVEN_AGE,
    RESEND_AFTER,
    UNLIMITED,
    OtpAdmission,
    OtpLimitKind,
    OtpLimits,
    OtpRefusal,
)
from vyry.limits import OTP_NETWORK, OTP_NUMBER, OTP_TOTAL, Grant, QuotaWindow


RULES = OtpLimits()
NUMBERS = OtpLimits(prefix=None, has_breaker=False)
SPEND = OtpLimits(number=(), total=(), network=(), prefix=None, has_breaker=False, daily_cap=100)


async def refused(
    stores: AccountStores, number: str, at: datetime, rules: OtpLimits = RULES, **more: int
) -> OtpRefusal:
    """A request that is refused."""
    answer = await request_code(stores, make_subjects(number, **more), rules, at)
    assert isinstance(answer, OtpRefusal)
    return answer


async def test_a_number_is_paced_over_all_purposes(stores: AccountStores) -> None:
    await request_code(stores, make_subjects(), RULES)
    soon = make_challenge(purpose=Purpose.DELETE_ACCOUNT, at=NOON + RESEND_AFTER - timedelta(milliseconds=1))

    answer = await stores.otp.open_challenge(soon, make_subjects(), RULES)

    assert answer == OtpRefusal(OtpLimitKind.NUMBER, NOON + RESEND_AFTER, QuotaWindow(1, 30))
    assert isinstance(await request_code(stores, make_subjects(BO_NUMBER), RULES), OtpAdmission)
    assert isinstance(await request_code(stores, make_subjects(), RULES, NOON + RESEND_AFTER), OtpAdmission)


async def test_a_network_gets_three_codes_for_a_number_in_ten_minutes_and_ten_a_day(stores: AccountStores) -> None:
    moments: list[datetime] = []
    now = NOON
    while len(moments) < 10:
        answer = await request_code(stores, make_subjects(), RULES, now)
        if isinstance(answer, OtpAdmission):
            moments.append(now)
        now = max(now + RESEND_AFTER, answer.retry_at if isinstance(answer, OtpRefusal) else now)

    assert moments[3] - moments[0] == timedelta(minutes=10)
    assert moments[9] - moments[0] == timedelta(minutes=30)
    assert (await refused(stores, ANN_NUMBER, now)).retry_at == NOON + DAY
    assert isinstance(await request_code(stores, make_subjects(network=99), RULES, now), OtpAdmission)
    assert isinstance(await request_code(stores, make_subjects(), RULES, NOON + DAY), OtpAdmission)


async def test_who_asks_elsewhere_takes_nothing_of_what_a_network_gets_for_a_number(stores: AccountStores) -> None:
    for minute in range(3):
        assert isinstance(
            await request_code(stores, make_subjects(network=9), RULES, NOON + timedelta(minutes=minute)), OtpAdmission
        )

    late = NOON + timedelta(minutes=3)
    own = [await request_code(stores, make_subjects(), RULES, late + RESEND_AFTER * each) for each in range(3)]

    assert (await refused(stores, ANN_NUMBER, late, network=9)).limit is OtpLimitKind.NUMBER
    assert all(isinstance(answer, OtpAdmission) for answer in own)


async def test_a_number_is_sent_twelve_codes_in_ten_minutes_and_thirty_a_day_over_all_networks(
    stores: AccountStores,
) -> None:
    answers = []
    for day_part in range(4):
        now = NOON + timedelta(minutes=10) * day_part
        asked = (request_code(stores, make_subjects(network=day_part * 50 + each), NUMBERS, now) for each in range(50))
        answers.append(await asyncio.gather(*asked))

    counts = [[type(answer) for answer in some].count(OtpAdmission) for some in answers]
    refusals = [{answer for answer in some if isinstance(answer, OtpRefusal)} for some in answers]
    assert counts == [12, 12, 6, 0]
    assert refusals[0] == {OtpRefusal(OtpLimitKind.TOTAL, NOON + timedelta(minutes=10), OTP_TOTAL.windows[0])}
    assert refusals[3] == {OtpRefusal(OtpLimitKind.TOTAL, NOON + DAY, OTP_TOTAL.windows[1])}


async def test_a_network_where_the_number_was_proven_gets_its_code_whatever_all_others_ask_for(
    stores: AccountStores,
) -> None:
    code = make_challenge()
    await stores.otp.open_challenge(code, make_subjects(), RULES)
    await guess_code(stores, code, RIGHT_HASH)
    late = NOON + CODE_LIFETIME
    # All others fill what is counted for the number, for its prefix, and pause its area.
    for number in range(BREAKER_CODES + 10):
        await request_code(
            stores,
            make_subjects(hash_of(number) if number > 30 else ANN_NUMBER, 100 + number, 2 + number // 15),
            RULES,
            late,
        )

    others = await refused(stores, ANN_NUMBER, late + CODE_LIFETIME, network=99)
    own = await request_code(stores, make_subjects(), RULES, late + CODE_LIFETIME)

    assert others.limit in (OtpLimitKind.TOTAL, OtpLimitKind.AREA)
    assert isinstance(own, OtpAdmission)
    assert (await refused(stores, ANN_NUMBER, late + CODE_LIFETIME)).limit is OtpLimitKind.NUMBER


async def test_a_network_is_forgotten_half_a_year_after_the_number_was_proven_there(stores: AccountStores) -> None:
    code = make_challenge()
    await stores.otp.open_challenge(code, make_subjects(), RULES)
    await guess_code(stores, code, RIGHT_HASH)

    proven = [
        (await stores.otp.load_history(whom, RULES, at)).is_proven
        for whom, at in (
            (make_subjects(), NOON + PROVEN_AGE - DAY),
            (make_subjects(), NOON + PROVEN_AGE),
            (make_subjects(network=9), NOON),
            (make_subjects(BO_NUMBER), NOON),
        )
    ]

    assert proven == [True, False, False, False]


async def test_a_wrong_code_proves_no_network(stores: AccountStores) -> None:
    code = make_challenge()
    await stores.otp.open_challenge(code, make_subjects(), RULES)

    await guess_code(stores, code, b"w" * 32)

    assert not (await stores.otp.load_history(make_subjects(), RULES, NOON)).is_proven


async def test_fifty_requests_of_one_network_for_one_number_at_once_get_exactly_one_code(
    stores: AccountStores,
) -> None:
    answers = await asyncio.gather(*(request_code(stores, make_subjects(), RULES) for _ in range(50)))

    assert [type(answer) for answer in answers].count(OtpAdmission) == 1


async def test_a_network_asks_for_ten_codes_in_ten_minutes(stores: AccountStores) -> None:
    for number in range(10):
        await request_code(
            stores, make_subjects(hash_of(number), prefix=number), RULES, NOON + timedelta(seconds=number)
        )

    answer = await refused(stores, ANN_NUMBER, NOON + timedelta(seconds=10))

    assert answer == OtpRefusal(OtpLimitKind.NETWORK, NOON + timedelta(minutes=10), OTP_NETWORK.windows[0])
    assert isinstance(await request_code(stores, make_subjects(network=2), RULES), OtpAdmission)


async def test_fifty_requests_of_one_network_at_once_get_exactly_ten_codes(stores: AccountStores) -> None:
    asked = (request_code(stores, make_subjects(hash_of(number), prefix=number), RULES) for number in range(50))

    answers = await asyncio.gather(*asked)

    assert [type(answer) for answer in answers].count(OtpAdmission) == 10
    assert {answer.retry_at for answer in answers if isinstance(answer, OtpRefusal)} == {NOON + timedelta(minutes=10)}


async def test_what_is_left_is_told_and_asking_takes_nothing(stores: AccountStores) -> None:
    answer = await request_code(stores, make_subjects(), RULES)

    known = [await stores.otp.load_history(make_subjects(), RULES, NOON) for _ in range(2)]

    assert answer == OtpAdmission(Grant(1, 0, 30, 30), Grant(10, 9, 600, 600))
    assert [(each.number, each.network) for each in known] == [([NOON], [NOON])] * 2


async def test_a_prefix_gets_twenty_codes_an_hour_that_nobody_verifies(stores: AccountStores) -> None:
    asked = (request_code(stores, make_subjects(hash_of(number), network=number), RULES) for number in range(40))

    answers = await asyncio.gather(*asked)

    assert [type(answer) for answer in answers].count(OtpAdmission) == 20
    assert (await refused(stores, ANN_NUMBER, NOON, network=99)).retry_at == NOON + HOUR
    assert isinstance(await request_code(stores, make_subjects(ANN_NUMBER, network=99, prefix=4), RULES), OtpAdmission)


async def test_people_who_verify_their_codes_use_up_no_prefix(stores: AccountStores) -> None:
    for number in range(25):
        code = make_challenge(hash_of(number))
        assert isinstance(
            await stores.otp.open_challenge(code, make_subjects(hash_of(number), network=number), RULES), OtpAdmission
        )
        await guess_code(stores, code, RIGHT_HASH)

    assert isinstance(await request_code(stores, make_subjects(network=99), RULES), OtpAdmission)


@pytest.mark.parametrize(("verified", "is_paused"), [(9, True), (10, False)])
async def test_an_area_where_few_codes_are_verified_is_paused_for_an_hour(
    stores: AccountStores, verified: int, *, is_paused: bool
) -> None:
    for number in range(BREAKER_CODES):
        code, whom = make_challenge(hash_of(number)), make_subjects(hash_of(number), network=number, prefix=number)
        await stores.otp.open_challenge(code, whom, RULES)
        if number < verified:
            await guess_code(stores, code, RIGHT_HASH)
    late = NOON + CODE_LIFETIME

    answers = [
        await request_code(stores, make_subjects(network=99, prefix=prefix), RULES, late) for prefix in (99, 100)
    ]

    tripped = [
        OtpRefusal(OtpLimitKind.AREA, late + HOUR, trips_breaker=True),
        OtpRefusal(OtpLimitKind.AREA, late + HOUR),
    ]
    assert (answers == tripped) is is_paused
    assert isinstance(await request_code(stores, make_subjects(BO_NUMBER, 100, 101, area=4), RULES, late), OtpAdmission)
    assert isinstance(
        await request_code(stores, make_subjects(network=101, prefix=102), RULES, late + HOUR), OtpAdmission
    )


async def test_codes_that_may_still_be_verified_do_not_pause_an_area(stores: AccountStores) -> None:
    for number in range(BREAKER_CODES):
        await request_code(stores, make_subjects(hash_of(number), network=number, prefix=number), RULES)

    soon = NOON + CODE_LIFETIME - timedelta(milliseconds=1)

    assert isinstance(await request_code(stores, make_subjects(network=99, prefix=99), RULES, soon), OtpAdmission)


async def test_no_more_is_spent_in_a_day_than_the_cap_also_at_once(stores: AccountStores) -> None:
    asked = (request_code(stores, make_subjects(hash_of(number), cost=30), SPEND) for number in range(20))

    answers = await asyncio.gather(*asked)

    assert [type(answer) for answer in answers].count(OtpAdmission) == 3
    assert {answer for answer in answers if isinstance(answer, OtpRefusal)} == {
        OtpRefusal(OtpLimitKind.SPEND, NOON + DAY)
    }


async def test_the_wait_is_until_enough_of_the_day_is_over(stores: AccountStores) -> None:
    for hours, cost in enumerate((10, 50, 30)):
        await request_code(stores, make_subjects(hash_of(hours), cost=cost), SPEND, NOON + HOUR * hours)

    waits = [await refused(stores, ANN_NUMBER, NOON + HOUR * 3, SPEND, cost=cost) for cost in (15, 20, 21, 71, 101)]

    assert [(answer.retry_at - NOON - DAY) / HOUR for answer in waits] == [0, 0, 1, 2, 3]
    assert isinstance(await request_code(stores, make_subjects(cost=20), SPEND, NOON + DAY), OtpAdmission)


async def test_a_code_surely_not_sent_counts_for_the_pace_alone(stores: AccountStores) -> None:
    code, whom = make_challenge(), make_subjects(cost=100)
    await stores.otp.open_challenge(code, whom, SPEND)

    await stores.otp.withdraw_challenge(code, is_certain=True)

    known = await stores.otp.load_history(whom, OtpLimits(daily_cap=100), NOON)
    assert (known.number, known.network, list(known.prefix), known.spent) == ([NOON], [NOON], [], 0)
    assert isinstance(await request_code(stores, make_subjects(BO_NUMBER, cost=100), SPEND), OtpAdmission)


async def test_a_code_perhaps_sent_is_paid_for(stores: AccountStores) -> None:
    code = make_challenge()
    await stores.otp.open_challenge(code, make_subjects(cost=100), SPEND)

    await stores.otp.withdraw_challenge(code, is_certain=False)

    assert (await refused(stores, BO_NUMBER, NOON, SPEND, cost=1)).limit is OtpLimitKind.SPEND


async def test_without_limits_only_money_counts(stores: AccountStores) -> None:
    answers = [await request_code(stores, make_subjects(), UNLIMITED) for _ in range(60)]

    assert {type(answer) for answer in answers} == {OtpAdmission}


async def test_a_number_keeps_its_pace_under_any_setting(stores: AccountStores) -> None:
    generous = OtpLimits(number=(QuotaWindow(1000, 60),), total=(), network=OTP_NUMBER.windows[:0], prefix=None)
    await request_code(stores, make_subjects(), generous)

    assert (await refused(stores, ANN_NUMBER, NOON, generous)).retry_at == NOON + RESEND_AFTER
