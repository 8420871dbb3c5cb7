"""Holds what a node says against its own documents: every answer is one that OpenAPI promises, every frame one that AsyncAPI does."""

import re
from functools import cache
from typing import Any

import jsonschema_rs
import orjson

from tests.support.device_keys import base64_text
from web.asyncapi import build_asyncapi as describe_frames
from web.json_schema import Schema
from web.openapi import build_openapi
from web.route import Route
from web.routes import ROUTES
from web.wire.errors import EXTRA_MEMBERS
from web.wire.frames import FRAMES


def assert_documented(method: str, path: str, status: int, body: Any) -> None:
    """Fail unless OpenAPI promises this answer of this route, with no member beyond the promised ones."""
    route = _route(method, path.partition("?")[0])
    validator = _validator(route.method, route.path, status)
    problems = [f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in validator.iter_errors(body)]
    assert not problems, f"{method} {route.path} answered {status} with {problems} in {body}"


def assert_frame_documented(frame: dict[str, Any]) -> None:
    """Fail unless AsyncAPI promises this frame of the node, with no member beyond the promised ones. Bytes of MessagePack count as base64."""
    plain = orjson.loads(orjson.dumps(frame, default=base64_text))
    problems = [
        f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in _frame(frame["type"]).iter_errors(plain)
    ]
    assert not problems, f"a frame with {problems}: {plain}"


def _route(method: str, path: str) -> Route:
    found = [route for route in ROUTES if route.method == method and _pattern(route.path).fullmatch(path)]
    assert found, f"{method} {path} is no route of the table"
    return min(found, key=lambda route: route.path.count("{"))


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


@cache
def _document() -> Schema:
    return build_openapi(ROUTES)


@cache
def _validator(method: str, path: str, status: int) -> jsonschema_rs.Draft202012Validator:
    document = _document()
    promised = document["paths"][path][method.lower()]["responses"]
    assert str(status) in promised, f"{method} {path} promises {list(promised)} and not {status}"
    schema = promised[str(status)].get("content", {}).get("application/json", {}).get("schema", True)
    return jsonschema_rs.Draft202012Validator(
        {"allOf": [schema], "components": _closed_schemas(document["components"])}
    )


@cache
def _frame(name: str) -> jsonschema_rs.Draft202012Validator:
    document = describe_frames(FRAMES)
    message = document["components"]["messages"][f"node.{name}"]
    return jsonschema_rs.Draft202012Validator(
        {**message["payload"], "components": _closed_schemas(document["components"])}
    )


def _closed_schemas(components: Schema) -> Schema:
    """The components without room for more: what an answer may get in later versions it does not have yet. Error bodies stay open: they are put together."""
    return {
        **components,
        "schemas": {name: _forbid_additional(name, schema) for name, schema in components["schemas"].items()},
    }


def _forbid_additional(name: str, schema: Schema) -> Schema:
    is_part_of_a_body = name == "Refusal" or any(name == members.__name__ for members in EXTRA_MEMBERS.values())
    return schema if is_part_of_a_body or "properties" not in schema else {**schema, "additionalProperties": False}
