"""The proof for a sign-up code: none, a proof of work, or the verdict of a webhook."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.account_harness import NUMBER, AccountHarness, open_stores
from tests.support.fake_clock import NOON, FakeClock
from tests.support.sms_provider_server import FaultHandler, never_respond, respond_with
from vyry.accounts.otp import Channel, Purpose
from vyry.accounts.phone import PhoneNumber
from vyry.accounts.signup import (
    PROOF_HEADER,
    PROOF_MAX_AGE,
    NoGuard,
    ProofOfWork,
    Registration,
    RequestOrigin,
    SignupGuard,
    leading_zero_bits,
)
from vyry.delivery.webhook_signing import webhook_signature
from vyry.delivery.webhook_signup_guard import WebhookSignupGuard
from vyry.errors import InvalidRequest, Unavailable


ANN, BO = PhoneNumber(NUMBER), PhoneNumber("+41791234568")
BITS, KEY, ADDRESS = 10, b"k" * 32, "192.0.2.7"
STAMP = round(NOON.timestamp())


def solve_proof(number: PhoneNumber = ANN, seconds: int = STAMP) -> str:
    """The proof of work of a client (docs/protocol.md, "Proof")."""
    return next(
        proof
        for proof in (f"{seconds}:{nonce}" for nonce in range(1 << 20))
        if leading_zero_bits(number, proof) >= BITS
    )


async def refusal(door: SignupGuard, proof: str | None, number: PhoneNumber = ANN) -> str:
    with pytest.raises(InvalidRequest) as refused:
        await door.check_proof(proof, number, ADDRESS)
    assert '"field": "X-Vyry-Proof"' in str(refused.value.members["fields"]).replace("'", '"')
    return str(refused.value.members["fields"])


async def test_who_has_worked_passes() -> None:
    await ProofOfWork(BITS, FakeClock()).check_proof(solve_proof(), ANN, ADDRESS)


@pytest.mark.parametrize(
    "proof", [None, "", ":", f"{STAMP}", f"{STAMP}:x", "now:1", "٣:1", "-5:1", f"{STAMP}:" + "9" * 200, "9" * 99 + ":"]
)
async def test_who_has_not_worked_is_told_what_to_do(proof: str | None) -> None:
    problem = await refusal(ProofOfWork(24, FakeClock()), proof)

    assert "24 bits" in problem


async def test_work_for_one_number_is_nothing_for_another() -> None:
    proof = next(
        each for each in (solve_proof(ANN, STAMP + more) for more in range(99)) if leading_zero_bits(BO, each) < BITS
    )

    await refusal(ProofOfWork(BITS, FakeClock()), proof, BO)


@pytest.mark.parametrize("way", [-1, 1])
async def test_old_work_and_work_of_the_future_are_nothing(way: int) -> None:
    door, span = ProofOfWork(BITS, FakeClock()), round(PROOF_MAX_AGE.total_seconds()) * way

    await door.check_proof(solve_proof(seconds=STAMP + span), ANN, ADDRESS)
    await refusal(door, solve_proof(seconds=STAMP + span + way))


def test_zeros_are_counted_bit_by_bit() -> None:
    counts = [leading_zero_bits(ANN, f"{STAMP}:{nonce}") for nonce in range(4096)]

    assert 0.4 < sum(count == 0 for count in counts) / len(counts) < 0.6
    assert 0.2 < sum(count == 1 for count in counts) / len(counts) < 0.3


@asynccontextmanager
async def captcha_guard(
    verdict: FaultHandler, heard: list[web.Request] | None = None
) -> AsyncIterator[WebhookSignupGuard]:
    """A guard whose webhook responds like this."""

    async def judge(request: web.Request) -> web.StreamResponse:
        if heard is not None:
            await request.read()
            heard.append(request)
        return await verdict(request)

    app = web.Application()
    app.router.add_post("/judge", judge)
    async with TestServer(app) as server:
        yield WebhookSignupGuard(str(server.make_url("/judge")), KEY, FakeClock(), try_seconds=0.3)


async def test_a_judge_is_asked_by_a_signed_body_that_names_no_number() -> None:
    heard: list[web.Request] = []

    async with captcha_guard(respond_with(200, b'{"isPassed": true}'), heard) as door:
        await door.check_proof("a captcha's token", ANN, ADDRESS)

    body = await heard[0].read()
    assert NUMBER[1:].encode() not in body
    assert (
        heard[0].headers["Vyry-Signature"] == f"v1={webhook_signature(KEY, heard[0].headers['Vyry-Timestamp'], body)}"
    )
    assert (await heard[0].json()) == {"proof": "a captcha's token", "address": ADDRESS}


async def test_whom_the_judge_refuses_is_refused() -> None:
    async with captcha_guard(respond_with(200, b'{"isPassed": false}')) as door:
        await refusal(door, "a stale token")


async def test_without_a_proof_no_judge_is_asked() -> None:
    heard: list[web.Request] = []

    async with captcha_guard(respond_with(200, b'{"isPassed": true}'), heard) as door:
        await refusal(door, None)
        await refusal(door, "x" * 10_000)

    assert heard == []


@pytest.mark.parametrize(
    "verdict",
    [
        respond_with(500),
        respond_with(302, Location="/judge"),
        respond_with(200),
        respond_with(200, b'{"isPassed": 1}'),
        never_respond,
    ],
)
async def test_a_judge_who_does_not_answer_lets_nobody_in(verdict: FaultHandler) -> None:
    async with captcha_guard(verdict) as door:
        with pytest.raises(Unavailable):
            await door.check_proof("a token", ANN, ADDRESS)


async def test_who_shows_nothing_uses_nothing_up() -> None:
    async with open_stores(None) as stores:
        harness = AccountHarness(stores)
        registration = Registration(harness.codes, ProofOfWork(BITS, harness.clock), harness.arrivals)

        with pytest.raises(InvalidRequest):
            await registration.request_otp(NUMBER, Purpose.LOGIN, Channel.SMS, RequestOrigin(ADDRESS))
        await registration.request_otp(NUMBER, Purpose.LOGIN, Channel.SMS, RequestOrigin(ADDRESS, solve_proof()))

        assert len(harness.otp_sender.sent) == 1


async def test_an_open_door_asks_for_nothing() -> None:
    await NoGuard().check_proof(None, ANN, ADDRESS)
    assert PROOF_HEADER == "X-Vyry-Proof"
