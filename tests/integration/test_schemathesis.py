"""Schemathesis says to a whole node whatever OpenAPI allows, and what it does not: nothing breaks it, and no answer is another than promised."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis.config import SchemathesisConfig

from scripts.nodes import AllInOneProcess
from tests.support.rest_device import NodeClient
from web.api.attachments import MEDIA_TYPE
from web.openapi import build_openapi
from web.routes import ROUTES


CHECKS = {
    # The node is stricter than JSON Schema can say: 1.0 is no integer, a code has to be the one that was sent.
    "positive_data_acceptance": {"enabled": False},
    "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 409, 412, 413, 415, 429]},
    "missing_required_header": {"expected-statuses": [400, 401, 412, 415]},
    "not_a_server_error": {"expected-statuses": ["2xx", "4xx"]},
}


@schemathesis.serializer(MEDIA_TYPE)
def as_it_is(_: object, value: object) -> bytes | None:
    """Bytes of an upload are bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


#: The socket is no request with an answer.
SCHEMA = schemathesis.openapi.from_dict(
    build_openapi([route for route in ROUTES if route.auth != "socket"]),
    config=SchemathesisConfig.from_dict({"checks": CHECKS}),
)


@pytest.fixture(scope="module")
def node() -> Iterator[AllInOneProcess]:
    with AllInOneProcess() as alone:
        yield alone
        # Whatever was said: nothing of it was a surprise.
        assert "Traceback" not in alone.log()
        assert '"event":"unhandled_error"' not in alone.log()


@pytest.fixture
def token(node: AllInOneProcess) -> str:
    """The access token of a new device with keys: some operations end the device they speak for."""

    async def sign_up() -> str:
        async with aiohttp.ClientSession() as http:
            return (await NodeClient(http, node.url, node.otp_file).sign_up()).token

    return asyncio.run(sign_up())


@SCHEMA.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_a_promised_one(case: "schemathesis.Case[Any]", node: AllInOneProcess, token: str) -> None:
    if "wait" in case.query:
        case.query["wait"] = 0
    # An empty list or null has no form in a URL: the node would be asked for less than what is checked.
    assume(all(value not in ([], {}, None) for value in case.query.values()))

    response = case.call(base_url=node.url, headers={"Authorization": f"Bearer {token}"})

    case.validate_response(response)
