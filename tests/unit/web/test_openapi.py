"""OpenAPI against the code: valid, the same routes, with examples that the shapes accept."""

import re
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate as validate_openapi

from tests.support.paths import ROOT
from web.bodies import validate
from web.json_schema import Schema
from web.openapi import build_openapi, route_refusals
from web.route import Route
from web.routes import ROUTES
from web.wire.errors import INTERNAL_ERROR, STATUS


DOCUMENT = build_openapi(ROUTES)
#: Each row of a route table in docs/protocol.md begins like this.
PROMISED_ROUTE = re.compile(r"^\| `(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE) (/[^`?]*)", re.MULTILINE)
PROMISED_CODE = re.compile(r"`([A-Z][A-Z_]+)`")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def operation(route: Route) -> Schema:
    found: Schema = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def examples() -> list[tuple[str, Schema, Any]]:
    found = []
    for route in ROUTES:
        described = operation(route)
        contents = [described["requestBody"]["content"]] if "requestBody" in described else []
        contents += [answer.get("content", {}) for answer in described["responses"].values()]
        found += [
            (named(route), each["schema"], each["example"])
            for content in contents
            for each in content.values()
            if "example" in each
        ]
    return found


def test_the_document_is_openapi_3_1() -> None:
    validate_openapi(DOCUMENT)


def test_the_document_has_the_routes_of_the_table_and_no_others() -> None:
    described = {f"{method.upper()} {path}" for path, operations in DOCUMENT["paths"].items() for method in operations}

    assert described == {named(route) for route in ROUTES}
    assert len(described) == len(ROUTES)


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation(route)["operationId"] for route in ROUTES]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_every_operation_tells_each_refusal_under_its_status(route: Route) -> None:
    described = operation(route)["responses"]

    assert all(refusal.code in described[str(STATUS[refusal])]["description"] for refusal in route_refusals(route))
    assert described["500"]["description"] == INTERNAL_ERROR
    assert route.auth == "open" or "INVALID_TOKEN" in described["401"]["description"]


@pytest.mark.parametrize(("name", "schema", "example"), examples(), ids=[name for name, _, _ in examples()])
def test_every_example_is_valid(name: str, schema: Schema, example: Any) -> None:
    jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, example)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body is not None], ids=named)
def test_every_example_of_a_body_is_read_by_its_shape(route: Route) -> None:
    assert route.body is not None
    example = operation(route)["requestBody"]["content"]["application/json"]["example"]

    assert isinstance(validate(example, route.body), route.body)


def test_the_protocol_promises_the_routes_of_the_table_and_no_others() -> None:
    assert {f"{method} {path}" for method, path in PROMISED_ROUTE.findall(PROTOCOL)} == {
        named(route) for route in ROUTES
    }


def test_the_protocol_names_every_code_and_no_others() -> None:
    table = PROTOCOL.partition("## Errors")[2].partition("\n## ")[0]

    assert set(PROMISED_CODE.findall(table)) == {refusal.code for refusal in STATUS} | {INTERNAL_ERROR}
