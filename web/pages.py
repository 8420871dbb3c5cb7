"""The docs page: one HTML document made of the OpenAPI and AsyncAPI documents, which loads nothing from anywhere."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final

from web.json_schema import Schema, resolve_reference
from web.wire.shapes import MAX_INTEGER


_LONG: Final = re.compile(r'("[^"]{64})[^"]+(?=")')
_HERE: Final = Path(__file__).parent
_STYLE: Final = (_HERE / "docs.css").read_text(encoding="utf-8")
_SCRIPT: Final = (_HERE / "docs.js").read_text(encoding="utf-8")


def content_security_policy() -> str:
    """The page's policy: its own style and script by their hashes, nothing else."""
    style, script = (b64encode(sha256(text.encode()).digest()).decode() for text in (_STYLE, _SCRIPT))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def docs_page(rest: Schema, socket: Schema) -> str:
    """The page for these two documents."""
    sections = [_section(tag["name"], _operations(rest, tag["name"])) for tag in rest["tags"]]
    sections.append(_section("socket frames", _frames(socket)))
    sections.append(_section("shapes", _shapes(rest["components"]["schemas"] | socket["components"]["schemas"])))
    sections.append(_section("error codes", _codes(rest["components"]["schemas"])))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Vyry API</title><style>{_STYLE}</style></head>
<body>
<h1>Vyry API {escape(rest["info"]["version"])}</h1>
<p>{escape(rest["info"]["description"])}</p>
<p>The documents themselves: <a href="/openapi.json">openapi.json</a>, <a href="/asyncapi.json">asyncapi.json</a>.</p>
<input type="search" placeholder="Search routes, fields, codes, frames" aria-label="Search">
{"".join(sections)}
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _section(name: str, entries: Iterable[str]) -> str:
    return f"<section><h2>{escape(name)}</h2>{''.join(entries)}</section>"


def _operations(rest: Schema, tag: str) -> Iterable[str]:
    components = rest["components"]["schemas"]
    for path, operations in rest["paths"].items():
        for method, operation in operations.items():
            if tag in operation["tags"]:
                title = f'<span class="verb">{method.upper()}</span> {escape(path)}'
                yield _entry(operation["operationId"], title, operation["summary"], _operation(operation, components))


def _operation(operation: Schema, components: Schema) -> str:
    parts = ["<p>Needs an access token.</p>" if "security" in operation else "<p>Needs no access token.</p>"]
    if "parameters" in operation:
        rows = [(each["name"], each["in"], _type_of(each["schema"])) for each in operation["parameters"]]
        parts.append(_table(("parameter", "in", "type"), rows))
    if "requestBody" in operation:
        ((media_type, content),) = operation["requestBody"]["content"].items()
        parts += ["<h3>Request</h3>", _body(content, components) if content else f"<p>{escape(media_type)}</p>"]
    refusals = []
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/json", {})
        if status >= "400":
            refusals.append((status, response["description"]))
        else:
            parts.append(f"<h3>{status} {escape(response['description'])}</h3>")
            parts.append(_body(content, components) if "example" in content else "")
    return "".join([*parts, "<h3>Errors</h3>", _table(("status", "code"), refusals)])


def _frames(socket: Schema) -> Iterable[str]:
    components = socket["components"]["schemas"]
    for key, message in socket["components"]["messages"].items():
        sender = key.partition(".")[0]
        title = f'<span class="verb">{sender}</span> {escape(message["name"])}'
        content = {"schema": message["payload"]["properties"]["payload"], "example": message["examples"][0]["payload"]}
        yield _entry(f"frame_{key}", title, message["summary"], _body(content, components))


def _shapes(components: Schema) -> Iterable[str]:
    for name, schema in sorted(components.items()):
        if "properties" in schema:
            yield _entry(
                f"shape_{name}", escape(name), "", f"<p>{escape(schema.get('description', ''))}</p>{_fields(schema)}"
            )


def _codes(components: Schema) -> Iterable[str]:
    for name, schema in sorted(components.items()):
        if "allOf" in schema:
            members = [resolve_reference(each, components) for each in schema["allOf"][1:] if "$ref" in each]
            yield _entry(
                f"code_{name}",
                escape(name),
                schema["description"],
                "".join(map(_fields, members)) or "<p>Nothing more.</p>",
            )


def _entry(anchor: str, title: str, summary: str, inside: str) -> str:
    head = f"<summary><code>{title}</code> <span>{escape(summary)}</span></summary>"
    return f'<details id="{escape(anchor)}">{head}<div>{inside}</div></details>'


def _body(content: Schema, components: Schema) -> str:
    schema = content["schema"]
    described = resolve_reference(schema, components) if "$ref" in schema else schema
    example = escape(_LONG.sub(r"\1...", json.dumps(content["example"], indent=2)))
    return f"<p>{escape(described.get('description', ''))}</p>{_fields(described)}<pre>{example}</pre>"


def _fields(schema: Schema) -> str:
    required = schema.get("required", ())
    fields = schema.get("properties", {}).items()
    rows = [(name, "" if name in required else "optional", _type_of(each)) for name, each in fields]
    return _table(("field", "", "type"), rows) if rows else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{escape(each)}</th>" for each in head)
    lines = ("".join(f"<td>{escape(each)}</td>" for each in row) for row in rows)
    return f"<table><tr>{cells}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _type_of(schema: Schema) -> str:
    """A short description of a field's type."""
    match schema:
        case {"$ref": reference}:
            text = str(reference).rpartition("/")[2]
        case {"const": word}:
            text = json.dumps(word)
        case {"enum": words}:
            text = " | ".join(map(json.dumps, words))
        case {"anyOf": variants}:
            text = " or ".join(map(_type_of, variants))
        case {"type": "array", "items": item}:
            text = f"list of {_type_of(item)}{_bounds(schema, 'minItems', 'maxItems')}"
        case _:
            name = schema.get("contentEncoding") or schema.get("format") or schema.get("type", "anything")
            text = f"{name}{_bounds(schema, 'minimum', 'maximum')}{_bounds(schema, 'minLength', 'maxLength')}"
    return text


def _bounds(schema: Schema, least: str, most: str) -> str:
    low: Any = schema.get(least, "")
    high: Any = schema.get(most, "")
    unit = " characters" if most == "maxLength" else ""
    return f" ({low}..{'' if high == MAX_INTEGER else high}{unit})" if low != "" or high != "" else ""
