"""OpenAPI 3.1, generated from the route table and its shapes."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from vyry import __version__, errors
from web.json_schema import REQUEST_MODE, RESPONSE_MODE, Schema, Shape, example_of, resolve_reference, schemas_of
from web.route import Route
from web.wire.errors import EXTRA_MEMBERS, INTERNAL_ERROR, STATUS, Refusal


_DESCRIPTION: Final = """\
The REST surface of a Vyry node. The rules that hold for all routes (ids, times, base64, order of checks, retries) and the socket's frames are described in docs/protocol.md;
/asyncapi.json describes the frames.

Every response carries `X-Request-Id`. Clients ignore unknown fields of responses; the node rejects unknown fields of requests."""
_JSON: Final = "application/json"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_RETRY_AFTER_HEADER: Final = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}


def build_openapi(routes: Sequence[Route]) -> Schema:
    """The document for these routes."""
    references, components = schemas_of(_shapes(routes))
    paths: dict[str, Schema] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _operation(route, references, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vyry",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(route) for route in routes)],
        "paths": dict(paths),
        "components": _components(routes, references, components),
    }


def route_refusals(route: Route) -> list[type[errors.VyryError]]:
    """Every error of this route: its own, and those of the checks before its handler."""
    refusals: list[type[errors.VyryError]] = [
        errors.InvalidRequest,
        errors.PayloadTooLarge,
        errors.UnsupportedMediaType,
        *route.refusals,
    ]
    if route.auth != "open":
        refusals += [errors.Unauthorized, errors.InvalidToken]
    if route.auth != "open" or route.body is not None:
        refusals.append(errors.Unavailable)
    if route.auth == "socket":
        refusals.append(errors.Forbidden)
    if "{" in route.path:
        refusals.append(errors.NotFound)
    if _is_limited(route):
        refusals.append(errors.RateLimited)
    return sorted(set(refusals), key=lambda refusal: (STATUS[refusal], refusal.code))


def _is_limited(route: Route) -> bool:
    """Whether the route has its own quota or a request cost."""
    return route.documented_quota is not None or (route.auth == "token" and route.cost > 0)


def _shapes(routes: Iterable[Route]) -> Iterable[Shape]:
    yield Refusal, RESPONSE_MODE
    yield from ((members, RESPONSE_MODE) for members in EXTRA_MEMBERS.values())
    for route in routes:
        yield from ((shape, REQUEST_MODE) for shape in (route.body, route.query) if shape is not None)
        yield from ((shape, RESPONSE_MODE) for shape in route.responses.values() if isinstance(shape, type))


def _operation(route: Route, references: Any, components: Schema) -> Schema:
    operation: Schema = {
        "operationId": route.operation.replace(".", "_"),
        "tags": [_tag(route)],
        "summary": route.summary,
        "responses": _responses(route, references, components),
    }
    parameters = [*_path_parameters(route), *_query_parameters(route, references, components)]
    for name, is_needed in route.request_headers.items():
        parameters.append({"name": name, "in": "header", "required": is_needed, "schema": {"type": "string"}})
    if parameters:
        operation["parameters"] = parameters
    if route.auth != "open":
        operation["security"] = [{"accessToken": []}] + ([{"ticket": []}] if route.auth == "socket" else [])
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.is_body_optional,
            "content": _content(references[route.body, REQUEST_MODE], components),
        }
    if route.stream_media_type:
        operation["requestBody"] = {"required": True, "content": {route.stream_media_type: {}}}
    return operation


def _path_parameters(route: Route) -> Iterable[Schema]:
    for name in _PARAMETER.findall(route.path):
        schema: Schema = {"type": "string"}
        if name == "deviceId":
            schema = {"type": "integer", "minimum": 1, "maximum": 127}
        elif name.endswith("Id"):
            schema = {"type": "string", "format": "uuid"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route, references: Any, components: Schema) -> Iterable[Schema]:
    if route.query is None:
        return
    described = resolve_reference(references[route.query, REQUEST_MODE], components)
    for name, schema in described.get("properties", {}).items():
        yield {"name": name, "in": "query", "required": name in described.get("required", ()), "schema": schema}


def _responses(route: Route, references: Any, components: Schema) -> Schema:
    responses: Schema = {}
    for status, shape in route.responses.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "headers": _headers(route)}
        if isinstance(shape, str):
            responses[str(status)]["content"] = {shape: {}}
        elif shape is not None:
            responses[str(status)]["content"] = _content(references[shape, RESPONSE_MODE], components)
    by_status: dict[int, list[str]] = defaultdict(list)
    for refusal in route_refusals(route):
        by_status[STATUS[refusal]].append(refusal.code)
    for status, codes in by_status.items():
        responses[str(status)] = _error_response(status, codes)
    responses["500"] = _error_response(500, [INTERNAL_ERROR])
    return responses


def _error_response(status: int, codes: Sequence[str]) -> Schema:
    schemas = [{"$ref": f"#/components/schemas/{code}"} for code in codes]
    return {
        "description": ", ".join(codes),
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
        | (_RETRY_AFTER_HEADER if status in (429, 503) else {}),
        "content": {_JSON: {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}},
    }


def _content(reference: Schema, components: Schema) -> Schema:
    return {_JSON: {"schema": reference, "example": example_of(reference, components)}}


def _headers(route: Route) -> Schema:
    headers: Schema = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    headers |= {name: {"schema": {"const": value}} for name, value in route.fixed_headers.items()}
    headers |= {
        name: {"description": text, "schema": {"type": "string"}} for name, text in route.documented_headers.items()
    }
    if _is_limited(route):
        headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit", "RateLimit-Policy")}
    return headers


def _components(routes: Sequence[Route], references: Any, components: Schema) -> Schema:
    codes: dict[str, Schema] = {INTERNAL_ERROR: _error_schema(INTERNAL_ERROR, "Internal error.", [])}
    for refusal in sorted(STATUS, key=lambda each: each.code):
        members = [references[EXTRA_MEMBERS[refusal], RESPONSE_MODE]] if refusal in EXTRA_MEMBERS else []
        codes[refusal.code] = _error_schema(refusal.code, (refusal.__doc__ or "").splitlines()[0], members)
    text = {"schema": {"type": "string"}}
    queries = {
        references[route.query, REQUEST_MODE]["$ref"].rpartition("/")[2] for route in routes if route.query is not None
    }
    return {
        "securitySchemes": {
            "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "ticket": {
                "type": "apiKey",
                "in": "query",
                "name": "ticket",
                "description": "From POST /api/v1/auth/ws-ticket; valid once.",
            },
        },
        "headers": {
            "RequestId": {
                "required": True,
                "description": "The id of this request; equals `request_id` of an error body.",
                "schema": {"type": "string", "format": "uuid"},
            },
            "RetryAfter": {
                "description": "Seconds; equals `retry_after_seconds`.",
                "schema": {"type": "integer", "minimum": 1},
            },
            "RateLimit": {"description": "Remaining requests per quota and seconds until it is full again.", **text},
            "RateLimit-Policy": {"description": "Limit per quota and its window in seconds.", **text},
        },
        "schemas": {name: schema for name, schema in components.items() if name not in queries} | codes,
    }


def _error_schema(code: str, text: str, members: list[Schema]) -> Schema:
    own = {"type": "object", "properties": {"error_code": {"const": code}}}
    return {"description": text, "allOf": [{"$ref": "#/components/schemas/Refusal"}, own, *members]}


def _tag(route: Route) -> str:
    return route.operation.partition(".")[0]
