"""Nobody learns from the way in whether a number has an account: the same answer after the same work, and no trace of number or code in any log."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from tests.support.node_server import NodeServer
from tests.support.rest_device import RequestRefused, unused_number


@asynccontextmanager
async def statements(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[str]]:
    """The statements that the database is asked meanwhile, without their values and without those of the node's own rounds."""
    logger, found = "tortoise.db_client", list[str]()
    with caplog.at_level(logging.DEBUG, logger):
        caplog.clear()
        yield found
    said = [record.args[0] for record in caplog.records if record.name == logger and isinstance(record.args, tuple)]
    found += [str(statement) for statement in said if " ending" not in str(statement)]


@pytest.mark.parametrize("purpose", ["login", "pinReset", "deleteAccount"])
async def test_a_known_number_takes_the_very_same_steps_as_an_unknown_one(
    node_server: NodeServer, caplog: pytest.LogCaptureFixture, purpose: str
) -> None:
    known = (await node_server.node.sign_up()).number
    steps, answers = [], []

    for number in (unused_number(), known, unused_number()):
        async with statements(caplog) as asked:
            answers.append(
                await node_server.node.call("POST", "/auth/request-otp", {"phoneNumber": number, "purpose": purpose})
            )
        steps.append(asked)

    assert len(steps[0]) > 3
    assert steps[0] == steps[1] == steps[2]
    assert [sorted(answer.items())[1:] for answer in answers] == [sorted(answers[0].items())[1:]] * 3


async def test_a_wrong_guess_takes_the_same_steps_for_known_and_unknown_numbers(
    node_server: NodeServer, caplog: pytest.LogCaptureFixture
) -> None:
    known = (await node_server.node.sign_up()).number
    steps, refusals = [], []

    for number in (known, unused_number()):
        challenge = (await node_server.node.call("POST", "/auth/request-otp", {"phoneNumber": number}))["challengeId"]
        wrong = f"{(int(await node_server.node.latest_code(number)) + 1) % 10**6:06d}"
        body = {"challengeId": challenge, "otp": wrong, "device": {"name": "phone", "platform": "cli"}}
        async with statements(caplog) as asked:
            with pytest.raises(RequestRefused) as refused:
                await node_server.node.call("POST", "/auth/verify-otp", body)
        steps.append(asked)
        refusals.append({name: value for name, value in refused.value.body.items() if name != "request_id"})

    assert steps[0] == steps[1] != []
    assert refusals[0] == refusals[1]


async def test_no_log_tells_a_number_or_a_code(node_server: NodeServer) -> None:
    number = unused_number()

    with capture_logs() as logs:
        device = await node_server.node.sign_up(number)
        with pytest.raises(RequestRefused):
            await node_server.node.call("POST", "/auth/request-otp", {"phoneNumber": f"{number}999999"})

    told = str(logs)
    assert device.user_id
    assert [secret for secret in (number[1:], await node_server.node.latest_code(number)) if secret in told] == []
