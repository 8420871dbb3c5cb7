"""AsyncAPI 3.0, generated from the frame table."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from vyry import __version__
from web.json_schema import REQUEST_MODE, RESPONSE_MODE, Mode, Schema, example_of, schemas_of
from web.route import BODY_LIMIT
from web.wire.frames import Frame


PATH: Final = "/api/v1/ws"
_DESCRIPTION: Final = f"""\
The socket of a Vyry node. Subprotocols `vyry.v1.json` (text frames, bytes are base64) and `vyry.v1.msgpack` (binary frames, bytes are bin); the same frames in both. At most {BODY_LIMIT} bytes a frame.
A client's frame has an `id`; the frame that answers it carries the id as `ref`. The rules (resume point, window, takeover by a newer connection, close codes) are described in docs/protocol.md."""


def build_asyncapi(frames: Sequence[Frame]) -> Schema:
    """The document for these frames."""
    references, components = schemas_of((frame.payload, _mode(frame)) for frame in frames)
    answers = {answer for frame in frames for answer in frame.replies}
    messages = {message_key(frame): _message(frame, references, components, answers) for frame in frames}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vyry socket",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": PATH,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            message_key(frame): _operation(frame)
            for frame in frames
            if frame.sender == "client" or frame.name not in answers
        },
        "components": {"messages": messages, "schemas": components},
    }


def message_key(frame: Frame) -> str:
    """The name of a frame in the document: some types exist in both directions."""
    return f"{frame.sender}.{frame.name}"


def _mode(frame: Frame) -> Mode:
    return REQUEST_MODE if frame.sender == "client" else RESPONSE_MODE


def _message(frame: Frame, references: Any, components: Schema, answers: Iterable[str]) -> Schema:
    payload = references[frame.payload, _mode(frame)]
    named: Schema = {"type": {"const": frame.name}}
    if frame.sender == "client":
        named["id"] = {"type": "string", "minLength": 1, "maxLength": 64}
    elif frame.name in answers:
        named["ref"] = {"type": "string", "minLength": 1, "maxLength": 64}
    whole: Schema = {"type": "object", "required": [*named, "payload"], "properties": {**named, "payload": payload}}
    if frame.sender == "client":
        whole["additionalProperties"] = False
    example = {"type": frame.name} | {name: "1" for name in ("id", "ref") if name in named}
    return {
        "name": frame.name,
        "summary": frame.summary,
        "payload": whole,
        "examples": [{"payload": {**example, "payload": example_of(payload, components)}}],
    }


def _operation(frame: Frame) -> Schema:
    channel = {"$ref": "#/channels/socket"}
    operation: Schema = {
        "action": "receive" if frame.sender == "client" else "send",
        "summary": frame.summary,
        "channel": channel,
        "messages": [_reference(message_key(frame))],
    }
    if frame.replies:
        operation["reply"] = {"channel": channel, "messages": [_reference(f"node.{name}") for name in frame.replies]}
    return operation


def _reference(name: str) -> Schema:
    return {"$ref": f"#/channels/socket/messages/{name}"}
