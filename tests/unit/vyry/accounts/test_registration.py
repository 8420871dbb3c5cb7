"""Sign-up: codes, their limits, and the new session."""

from datetime import timedelta

import pytest

from tests.support.account_harness import NUMBER, AccountHarness, AccountStores, open_stores
from vyry.accounts.account import Platform
from vyry.accounts.otp import Channel, OtpOptions, Purpose
from vyry.accounts.phone import PhoneNumber
from vyry.accounts.signup import NewSession, RequestOrigin
from vyry.errors import InvalidOtp, InvalidToken, LimitPolicy, RateLimited, Unavailable
from vyry.kernel.ids import new_id
from vyry.limits import Grant, network_prefix


@pytest.fixture
async def stores() -> AccountStores:
    async with open_stores(None) as stores:
        return stores


@pytest.fixture
def harness(stores: AccountStores) -> AccountHarness:
    return AccountHarness(stores)


def wrong(otp: str) -> str:
    """Six other digits."""
    return f"{(int(otp) + 1) % 10**6:06d}"


async def test_the_code_goes_to_the_number_and_nowhere_else(harness: AccountHarness) -> None:
    challenge = await harness.request_code(purpose=Purpose.PIN_RESET)

    message = harness.otp_sender.sent[0]
    assert (message.number.e164, message.purpose) == (NUMBER, Purpose.PIN_RESET)
    assert message.message_id != challenge
    assert len(message.otp) == 6
    assert message.otp.isdigit()
    assert message.otp not in repr(message)


async def test_the_right_code_opens_a_session_that_is_recognised(harness: AccountHarness) -> None:
    made = await harness.sign_up()

    caller = await harness.sessions.authenticate(made.tokens.access)
    assert (caller.user_id, caller.device_id, caller.is_primary) == (made.user_id, 1, True)
    assert (made.is_new_user, made.requires_profile_setup) == (True, True)
    assert (made.tokens.access_lifetime, made.tokens.refresh_lifetime) == (timedelta(hours=1), timedelta(days=7))


async def test_wrong_codes_count_down_to_a_dead_challenge(harness: AccountHarness) -> None:
    challenge = await harness.request_code()
    right = harness.otp_sender.sent[-1].otp

    left = []
    for otp in [wrong(right)] * 5 + [right]:
        with pytest.raises(InvalidOtp) as refusal:
            await harness.registration.verify_otp(challenge, otp, "phone", Platform.IOS)
        left.append(refusal.value.members["attempts_remaining"])

    assert left == [4, 3, 2, 1, 0, 0]


@pytest.mark.parametrize("purpose", [Purpose.PIN_RESET, Purpose.DELETE_ACCOUNT])
async def test_a_code_for_another_purpose_signs_nobody_up(harness: AccountHarness, purpose: Purpose) -> None:
    challenge = await harness.request_code(purpose=purpose)

    with pytest.raises(InvalidOtp):
        await harness.registration.verify_otp(challenge, harness.otp_sender.sent[-1].otp, "phone", Platform.IOS)


async def test_a_code_is_bound_to_its_challenge(harness: AccountHarness) -> None:
    await harness.request_code()
    mine = harness.otp_sender.sent[-1].otp
    others = await harness.request_code("+41791234568")

    if mine != harness.otp_sender.sent[-1].otp:
        with pytest.raises(InvalidOtp):
            await harness.registration.verify_otp(others, mine, "phone", Platform.IOS)
    with pytest.raises(InvalidOtp):
        await harness.registration.verify_otp(new_id(), mine, "phone", Platform.IOS)


async def test_an_expired_code_is_invalid(harness: AccountHarness) -> None:
    challenge = await harness.request_code()
    harness.clock.advance(seconds=180)

    with pytest.raises(InvalidOtp):
        await harness.registration.verify_otp(challenge, harness.otp_sender.sent[-1].otp, "phone", Platform.IOS)


async def test_a_resend_too_soon_is_told_the_true_wait(harness: AccountHarness) -> None:
    await harness.request_code()
    harness.clock.advance(seconds=12.5)

    with pytest.raises(RateLimited) as refusal:
        await harness.request_code(purpose=Purpose.PIN_RESET)

    assert refusal.value.members["retry_after_seconds"] == 18
    assert len(harness.otp_sender.sent) == 1
    harness.clock.advance(seconds=17.5)
    await harness.request_code()


@pytest.mark.parametrize("spelling", ["+410791234567", "0041 79 123 45 67", "+41 (0)79-123.45.67"])
async def test_another_spelling_of_a_number_gets_no_code_more_and_no_other_account(
    harness: AccountHarness, spelling: str
) -> None:
    first = await harness.sign_up()
    with pytest.raises(RateLimited):
        await harness.request_code(spelling)

    harness.clock.advance(seconds=30)
    challenge = await harness.request_code(spelling)
    again = await harness.registration.verify_otp(challenge, harness.otp_sender.sent[-1].otp, "phone", Platform.IOS)

    assert harness.otp_sender.sent[-1].number == PhoneNumber(NUMBER)
    assert isinstance(again, NewSession)
    assert (again.user_id, again.is_new_user) == (first.user_id, False)


async def test_a_code_that_could_not_be_sent_is_unavailable_and_void(harness: AccountHarness) -> None:
    harness.otp_sender.is_broken = True

    with pytest.raises(Unavailable) as refusal:
        await harness.request_code()

    assert refusal.value.members["retry_after_seconds"] == 30
    left = await harness.codes.remaining(harness.pepper.hide(PhoneNumber(NUMBER)).sealed, "192.0.2.0/24")
    assert left["otp_number"][0].remaining == 0


async def test_signing_up_again_ends_the_old_device_and_its_sockets(harness: AccountHarness) -> None:
    first = await harness.sign_up()
    old = await harness.sessions.authenticate(first.tokens.access)

    second = await harness.sign_up()

    assert (second.user_id, second.device_id, second.is_new_user) == (first.user_id, 1, False)
    assert harness.listener.ended_mailboxes == [old.mailbox]
    with pytest.raises(InvalidToken):
        await harness.sessions.authenticate(first.tokens.access)
    with pytest.raises(InvalidToken):
        await harness.sessions.refresh(first.tokens.refresh, new_id())


async def test_signing_up_does_not_fail_when_sockets_cannot_be_told(harness: AccountHarness) -> None:
    await harness.sign_up()
    harness.listener.is_failing = True

    assert (await harness.sign_up()).is_new_user is False


async def test_over_a_limit_no_code_is_sent(stores: AccountStores) -> None:
    harness = AccountHarness(stores, OtpOptions())
    for _ in range(3):
        await harness.request_code()
        harness.clock.advance(seconds=30)

    with pytest.raises(RateLimited) as refusal:
        await harness.request_code()

    assert refusal.value.members["retry_after_seconds"] == 510
    assert refusal.value.policy == LimitPolicy("otp_number", 3, 600)
    assert len(harness.otp_sender.sent) == 3


async def test_what_the_limits_have_left_is_told(stores: AccountStores) -> None:
    harness = AccountHarness(stores, OtpOptions())

    sent = await harness.registration.request_otp(NUMBER, Purpose.LOGIN, Channel.SMS, RequestOrigin("192.0.2.7"))

    assert sent.grants == [("otp_number", Grant(1, 0, 30, 30)), ("otp_network", Grant(10, 9, 600, 600))]


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.7", "192.0.2.0/24"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64")],
)
def test_a_network_is_a_24_or_a_64(address: str, network: str) -> None:
    assert network_prefix(address) == network


async def test_codes_cannot_be_foretold(harness: AccountHarness) -> None:
    for number in range(60):
        await harness.request_code(f"+4179123{number:04d}")
        harness.clock.advance(minutes=10)

    codes = [message.otp for message in harness.otp_sender.sent]
    # Of sixty fair codes two are alike once in 570 runs, three practically never; and every place shows at least half of all digits.
    assert len(set(codes)) >= 58
    assert all(len({code[place] for code in codes}) >= 5 for place in range(6))
