"""Codes by Twilio and Vonage, against a server that speaks their HTTP: what is asked of them, and what is known when they fail."""

import time
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.support.account_harness import NUMBER
from tests.support.fake_clock import NOON, FakeClock
from tests.support.sms_provider_server import (
    APPLICATION,
    PRIVATE_KEY,
    SID,
    TOKEN,
    FaultHandler,
    SmsProviderServer,
    drop_connection,
    never_respond,
    open_sms_provider,
    respond_with,
    twilio_error,
)
from vyry.accounts.otp import Channel, OtpMessage, OtpSender, Purpose, SendFailed
from vyry.accounts.phone import PhoneNumber
from vyry.delivery import gateway as gateways
from vyry.delivery.circuit_breaker import CircuitBreaker
from vyry.delivery.sms.carriers import CarrierAccount, TwilioSender, VonageSender


FROM = "+15005550006"


def message(channel: Channel = Channel.SMS) -> OtpMessage:
    return OtpMessage(UUID(int=5), PhoneNumber(NUMBER), "012345", Purpose.LOGIN, channel, NOON)


def twilio(carrier: SmsProviderServer, sender: str = FROM, secret: str = TOKEN) -> OtpSender:
    return TwilioSender(CarrierAccount(SID, sender, secret, carrier.url), try_seconds=0.3)


def vonage(carrier: SmsProviderServer, sender: str = FROM) -> OtpSender:
    return VonageSender(CarrierAccount(APPLICATION, sender, PRIVATE_KEY, carrier.url), FakeClock(), try_seconds=0.3)


@pytest.fixture
async def carrier(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmsProviderServer]:
    monkeypatch.setattr(gateways, "RETRY_DELAYS", (0.0, 0.0))
    async with open_sms_provider() as opened:
        yield opened


async def failed(sender: OtpSender) -> SendFailed:
    with pytest.raises(SendFailed) as failure:
        await sender.send(message())
    return failure.value


async def test_twilio_gets_a_text_and_a_call(carrier: SmsProviderServer) -> None:
    await twilio(carrier).send(message())
    await twilio(carrier).send(message(Channel.VOICE))

    text, call = carrier.sent_messages
    assert (text["resource"], text["To"], text["From"]) == ("Messages", NUMBER, FROM)
    assert "012345" in str(text["Body"])
    assert (call["resource"], call["To"], call["From"]) == ("Calls", NUMBER, FROM)
    assert str(call["Twiml"]).startswith("<Response><Say>")
    assert "0, 1, 2, 3, 4, 5" in str(call["Twiml"])


async def test_twilio_sends_by_a_messaging_service_too(carrier: SmsProviderServer) -> None:
    await twilio(carrier, "MG" + "3" * 32).send(message())

    assert carrier.sent_messages[0]["MessagingServiceSid"] == "MG" + "3" * 32
    assert "From" not in carrier.sent_messages[0]


async def test_vonage_gets_a_text_and_a_call(carrier: SmsProviderServer) -> None:
    await vonage(carrier).send(message())
    await vonage(carrier).send(message(Channel.VOICE))

    text, call = carrier.sent_messages
    number, sender = NUMBER.removeprefix("+"), FROM.removeprefix("+")
    named = (text["resource"], text["channel"], text["message_type"], text["to"], text["from"])
    assert named == ("messages", "sms", "text", number, sender)
    assert "012345" in str(text["text"])
    assert call["to"] == [{"type": "phone", "number": number}]
    assert call["from"] == {"type": "phone", "number": sender}
    assert "0, 1, 2, 3, 4, 5" in str(call["ncco"])


@pytest.mark.parametrize("open_sender", [twilio, vonage])
async def test_a_name_cannot_call(
    carrier: SmsProviderServer, open_sender: Callable[[SmsProviderServer, str], OtpSender]
) -> None:
    with pytest.raises(SendFailed) as failure:
        await open_sender(carrier, "Vyry").send(message(Channel.VOICE))

    assert (failure.value.is_certain, carrier.request_count) == (True, 0)


TROUBLES: dict[str, tuple[FaultHandler, int, bool]] = {
    "hangs": (never_respond, 1, False),
    "hangs up": (drop_connection, 1, False),
    "broken": (respond_with(500), 1, False),
    "away for a moment": (respond_with(503, b"", **{"Retry-After": "1"}), 1, False),
    "busy": (respond_with(429, b'{"code": 20429}'), 3, True),
    "refuses": (respond_with(400, b'{"code": 21211, "message": "Invalid \'To\' Phone Number"}'), 1, True),
    "knows us not": (respond_with(401), 1, True),
    "sends us elsewhere": (respond_with(307, b"", Location="/elsewhere"), 1, False),
    "talks nonsense": (respond_with(201, b"<html>Welcome to the hotel"), 1, False),
    "says another yes": (respond_with(200, b"{}"), 1, False),
    "talks without end": (respond_with(201, b"[" * (1 << 20)), 1, False),
}


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.parametrize("open_sender", [twilio, vonage])
async def test_a_carrier_in_trouble_is_tried_again_only_if_nothing_was_sent(
    carrier: SmsProviderServer, open_sender: Callable[[SmsProviderServer], OtpSender], name: str
) -> None:
    carrier.fault, tries, is_certain = TROUBLES[name]

    failure = await failed(open_sender(carrier))

    assert (carrier.request_count, failure.is_certain) == (tries, is_certain)


async def test_a_carrier_that_is_away_got_nothing() -> None:
    sender = TwilioSender(CarrierAccount(SID, FROM, TOKEN, "http://127.0.0.1:9"))

    assert (await failed(sender)).is_certain


async def test_a_text_that_the_carrier_says_it_cannot_send_is_not_sent(carrier: SmsProviderServer) -> None:
    carrier.fault = respond_with(201, b'{"sid": "SM1", "status": "failed", "error_code": 30006}')

    assert (await failed(twilio(carrier))).is_certain is False


async def test_after_three_failures_a_carrier_is_left_alone(carrier: SmsProviderServer) -> None:
    carrier.fault, sender = respond_with(500), twilio(carrier)
    for _ in range(3):
        await failed(sender)

    later = [await failed(sender) for _ in range(5)]

    assert carrier.request_count == 3
    assert all(failure.is_certain for failure in later)


async def test_numbers_that_the_carrier_refuses_do_not_close_the_line(carrier: SmsProviderServer) -> None:
    carrier.fault, sender = respond_with(400, b'{"code": 21211}'), twilio(carrier)
    for _ in range(5):
        await failed(sender)
    carrier.fault = None

    await sender.send(message())

    assert len(carrier.sent_messages) == 1


async def test_a_line_that_was_closed_lets_one_through_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker, moment = CircuitBreaker("sms"), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    for _ in range(3):
        breaker.record_failure(SendFailed(is_certain=True))
    states = [breaker.admit_call()]
    moment[0] += 2

    states += [breaker.admit_call(), breaker.admit_call()]
    breaker.record_success()

    assert [*states, breaker.admit_call()] == [False, True, False, True]


async def test_no_log_and_no_error_tells_number_code_or_secret(carrier: SmsProviderServer) -> None:
    async def echo(_: web.Request) -> web.StreamResponse:
        return twilio_error(400, 21211, f"{NUMBER} {TOKEN} 012345")

    carrier.fault = echo

    with capture_logs() as logs:
        failure = await failed(twilio(carrier))

    told = f"{logs}{failure!r}{failure.__cause__!r}{twilio(carrier)!r}"
    assert (logs[0]["status"], logs[0]["error_code"]) == (400, 21211)
    assert [secret for secret in (NUMBER[1:], TOKEN, "012345", carrier.url) if secret in told] == []
