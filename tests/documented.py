"""Holds answers against the OpenAPI document: every status a route gives is promised there, and every body has the shape promised for it."""

import re
from functools import cache
from typing import Any

import jsonschema_rs

from web.keys import Route
from web.openapi import describe
from web.routes import ROUTES
from web.schemas import Schema
from web.wire.refusals import MEMBERS


def assert_documented(method: str, path: str, status: int, body: Any) -> None:
    """Fail unless OpenAPI promises this answer of this route, with no member beyond the promised ones."""
    route = _route(method, path.partition("?")[0])
    validator = _validator(route.method, route.path, status)
    problems = [f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in validator.iter_errors(body)]
    assert not problems, f"{method} {route.path} answered {status} with {problems} in {body}"


def _route(method: str, path: str) -> Route:
    found = [route for route in ROUTES if route.method == method and _pattern(route.path).fullmatch(path)]
    assert found, f"{method} {path} is no route of the table"
    return min(found, key=lambda route: route.path.count("{"))


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


@cache
def _document() -> Schema:
    return describe(ROUTES)


@cache
def _validator(method: str, path: str, status: int) -> jsonschema_rs.Draft202012Validator:
    document = _document()
    promised = document["paths"][path][method.lower()]["responses"]
    assert str(status) in promised, f"{method} {path} promises {list(promised)} and not {status}"
    schema = promised[str(status)].get("content", {}).get("application/json", {}).get("schema", True)
    return jsonschema_rs.Draft202012Validator({"allOf": [schema], "components": _closed(document["components"])})


def _closed(components: Schema) -> Schema:
    """The components without room for more: what an answer may get in later versions it does not have yet. Error bodies stay open: they are put together."""
    return {**components, "schemas": {name: _shut(name, schema) for name, schema in components["schemas"].items()}}


def _shut(name: str, schema: Schema) -> Schema:
    is_part_of_a_body = name == "Refusal" or any(name == members.__name__ for members in MEMBERS.values())
    return schema if is_part_of_a_body or "properties" not in schema else {**schema, "additionalProperties": False}
