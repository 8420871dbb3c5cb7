"""What passes through the proxy: requests and answers of REST, and frames of a socket in one plain form (bytes as base64), whichever subprotocol the client speaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import msgpack
import orjson

from tests.support.chain_checker import to_bytes
from tests.support.device_keys import base64_text


Body = dict[str, Any]
API: Final = "/api/v1"
#: What a proxy does not pass on: it is of one connection, or tells which pages the client trusts.
_OWN_HEADERS: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "host", "keep-alive", "origin", "trailer"),
        *("transfer-encoding", "upgrade", "content-encoding", "date", "server"),
    }
)
#: Fields that are bytes in MessagePack and base64 text in JSON.
_OCTETS: Final = ("head", "content")


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that go through."""
    return {name: value for name, value in headers.items() if name.lower() not in _OWN_HEADERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of the client. `path` stands behind /api/v1; `body` is its JSON, None when it has none."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    body: Body | None = None

    def matches(self, method: str, path: str) -> bool:
        """Whether it is this one."""
        return (self.method, self.path) == (method, path)

    def with_body(self, body: Body | None) -> Self:
        """The same with another body."""
        return replace(self, body=body, raw=b"" if body is None else orjson.dumps(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer to the client."""

    status: int
    raw: bytes = b""
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_body(cls, status: int, body: Body) -> Self:
        """An answer as a node writes it."""
        return cls(status=status, body=body, raw=orjson.dumps(body), headers={"Content-Type": "application/json"})

    @classmethod
    def refusal(cls, status: int, code: str, **more: Any) -> Self:
        """A refusal as a node writes it."""
        head = {"error": "No.", "error_code": code, "request_id": "00000000-0000-7000-8000-000000000000"}
        return cls.from_body(status, {**head, **more})

    def with_body(self, body: Body) -> Self:
        """The same with another body."""
        return replace(self, body=body, raw=orjson.dumps(body))


def json_of(raw: bytes) -> Body | None:
    """A JSON object, None for anything else."""
    if raw[:1] != b"{":
        return None
    try:
        found: Body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return found


def read_frame(message: str | bytes) -> Body:
    """A frame of either subprotocol in plain form."""
    said = orjson.loads(message) if isinstance(message, str) else msgpack.unpackb(message)
    found: Body = _plain(said)
    return found


def write_frame(frame: Body, *, is_text: bool) -> str | bytes:
    """A plain frame as its subprotocol writes it."""
    if is_text:
        return orjson.dumps(frame).decode()
    packed: bytes = msgpack.packb(_packed(frame))
    return packed


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return base64_text(value)
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def _packed(value: Any, name: str = "") -> Any:
    match value:
        case str() if name in _OCTETS:
            return to_bytes(value)
        case dict():
            return {name: _packed(each, name) for name, each in value.items()}
        case list():
            return [_packed(each) for each in value]
        case _:
            return value
