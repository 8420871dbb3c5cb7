"""The form of a code, and how it is stored."""

from uuid import UUID

import pytest

from tests.support.account_harness import NUMBER, AccountHarness, open_stores
from vyry.accounts.otp import Channel, OtpOptions, Purpose
from vyry.accounts.otp_limits import UNLIMITED, Tariff, prefix_and_area
from vyry.accounts.phone import Pepper, PhoneNumber
from vyry.accounts.signup import RequestOrigin
from vyry.errors import InvalidOtp, InvalidRequest


ONE, OTHER = UUID(int=1), UUID(int=2)


async def test_codes_are_six_digits_that_nobody_can_foretell() -> None:
    async with open_stores(None) as stores:
        harness = AccountHarness(stores, OtpOptions(UNLIMITED))
        for _ in range(400):
            await harness.request_code()

    codes = [message.otp for message in harness.otp_sender.sent]
    assert len(set(codes)) > 390
    assert all(len(code) == 6 and code.isdigit() for code in codes)
    assert [{code[place] for code in codes} for place in range(6)] == [set("0123456789")] * 6


def test_what_is_stored_of_a_code_is_worth_nothing_for_another_challenge_purpose_or_node() -> None:
    pepper = Pepper(b"p" * 32)

    stored = [
        pepper.hash_code(ONE, "login", "012345"),
        pepper.hash_code(OTHER, "login", "012345"),
        pepper.hash_code(ONE, "pinReset", "012345"),
        pepper.hash_code(ONE, "login", "012346"),
        Pepper(b"q" * 32).hash_code(ONE, "login", "012345"),
    ]

    assert len(set(stored)) == 5
    assert pepper.guess_hashes(ONE, "login", "012345") == (stored[0], stored[0])


async def test_a_code_for_the_callers_own_number_is_judged_and_one_for_another_unknown() -> None:
    async with open_stores(None) as stores:
        harness = AccountHarness(stores)
        challenge = await harness.request_code(purpose=Purpose.PIN_RESET)
        otp = harness.otp_sender.sent[-1].otp
        own, other = (harness.pepper.hide(PhoneNumber(number)).sealed for number in (NUMBER, "+41791234568"))

        with pytest.raises(InvalidOtp) as refusal:
            await harness.codes.redeem(challenge, Purpose.PIN_RESET, otp, phone_sealed=other)
        guess = await harness.codes.redeem(challenge, Purpose.PIN_RESET, otp, phone_sealed=own)

    assert refusal.value.members["attempts_remaining"] == 0
    assert (guess.is_right, guess.guesses_left) == (True, 4)


@pytest.mark.parametrize("number", ["+41791234567", "+12025550123"])
async def test_a_country_that_gets_no_codes_is_told_so_before_anything_is_counted(number: str) -> None:
    async with open_stores(None) as stores:
        harness = AccountHarness(stores, OtpOptions(tariff=Tariff(countries=frozenset({"DE"}))))
        asking = RequestOrigin("192.0.2.7")

        with pytest.raises(InvalidRequest) as refusal:
            await harness.registration.request_otp(number, Purpose.LOGIN, Channel.SMS, asking)
        await harness.registration.request_otp("+4915112345678", Purpose.LOGIN, Channel.SMS, asking)

    problem = "no codes are sent to this country"
    assert refusal.value.members["fields"] == [{"field": "phoneNumber", "problem": problem}]
    assert len(harness.otp_sender.sent) == 1


def test_a_price_is_that_of_the_country_also_where_countries_share_a_code() -> None:
    tariff = Tariff(price=10, prices={"CA": 3, "DE": 7})

    costs = [tariff.cost_of(PhoneNumber(number)) for number in ("+14165550123", "+12025550123", "+4915112345678")]

    assert costs == [3, 10, 7]


@pytest.mark.parametrize(
    ("number", "prefix", "area"), [("+41791234567", "4179123", "417912"), ("+12025550123", "1202555", "120255")]
)
def test_a_prefix_has_seven_digits_and_an_area_six(number: str, prefix: str, area: str) -> None:
    assert prefix_and_area(PhoneNumber(number)) == (prefix, area)
