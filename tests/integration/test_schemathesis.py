"""Schemathesis says to a whole node whatever OpenAPI allows, and what it does not: nothing breaks it, and no answer is another than promised."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks

from scripts.nodes import Alone
from tests.client import Node
from web.openapi import describe
from web.routes import ROUTES


CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
]
#: The socket is no request with an answer.
SCHEMA = schemathesis.openapi.from_dict(describe([route for route in ROUTES if route.auth != "socket"]))


@pytest.fixture(scope="module")
def node() -> Iterator[Alone]:
    with Alone() as alone:
        yield alone


@pytest.fixture
def token(node: Alone) -> str:
    """The access token of a new device with keys: some operations end the device they speak for."""

    async def sign_up() -> str:
        async with aiohttp.ClientSession() as http:
            device = await Node(http, node.url, node.otp_file).sign_up()
            return device.token

    return asyncio.run(sign_up())


@SCHEMA.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_a_promised_one(case: "schemathesis.Case[Any]", node: Alone, token: str) -> None:
    if "wait" in case.query:
        case.query["wait"] = 0

    response = case.call(base_url=node.url, headers={"Authorization": f"Bearer {token}"})

    case.validate_response(response, additional_checks=CHECKS)
    assert response.headers["X-Request-Id"]
