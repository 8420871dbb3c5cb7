"""Contents: the JSON inside the seal (section 9)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Never
from uuid import UUID

from vyry.kernel.base64_text import decode_base64, encode_base64
from vyry.kernel.ids import parse_uuid
from vyry.signal_protocol.refusals import BadContent, ContextMismatch, UnknownVersion


VERSION: Final = 1
_COMMON: Final = ("v", "kind", "id", "at", "conversationId")
#: Limits of the JSON of a content.
MAX_DEPTH: Final = 32
MAX_NUMBER: Final = 2**63
#: Ms for which a content may be edited and withdrawn.
CHANGE_MILLISECONDS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Content:
    """One content. `id` names it for ever, also when it is sent again; `at` is the sender's clock in ms; `fields` are those of its kind and the optional ones."""

    kind: str
    id: UUID
    at: int
    conversation_id: UUID
    fields: Mapping[str, Any] = field(default_factory=dict)

    def pack(self) -> bytes:
        """The plaintext. Raises BadContent when a field has the name of a common one, or others could not read it."""
        if not self.fields.keys().isdisjoint(_COMMON):
            raise BadContent
        common = {
            "v": VERSION,
            "kind": self.kind,
            "id": str(self.id),
            "at": self.at,
            "conversationId": str(self.conversation_id),
        }
        return write_object({**common, **self.fields})


def read_content(plaintext: bytes, conversation_id: UUID) -> Content:
    """The content of a plaintext in this conversation. An unknown kind is no error: it is kept for a newer version.

    Raises BadContent, UnknownVersion, ContextMismatch (it was written for another conversation).
    """
    found = parse_object(plaintext)
    if not all(name in found for name in _COMMON):
        raise BadContent
    if type(found["v"]) is not int:
        raise BadContent
    if found["v"] != VERSION:
        raise UnknownVersion
    kind, at = found["kind"], found["at"]
    if not isinstance(kind, str) or type(at) is not int or at < 0:
        raise BadContent
    stated_conversation = read_id(found["conversationId"])
    if stated_conversation != conversation_id:
        raise ContextMismatch
    fields = {name: value for name, value in found.items() if name not in _COMMON}
    return Content(kind, read_id(found["id"]), at, stated_conversation, fields)


def parse_object(plaintext: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 that can be written again, here and in a browser; no object in it repeats a name. Raises BadContent."""
    try:
        found = json.loads(
            plaintext.decode("utf-8"), parse_constant=_reject_constant, object_pairs_hook=_reject_duplicates
        )
        _check(found)
    except (ValueError, RecursionError):
        raise BadContent from None
    if not isinstance(found, dict):
        raise BadContent
    return found


def write_object(fields: Mapping[str, Any]) -> bytes:
    """JSON that `parse_object` reads. Raises BadContent."""
    try:
        _check(fields)
        return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError):
        raise BadContent from None


def may_change(change: Content, changer: UUID, target_sender: UUID, target_at: int) -> bool:
    """Whether an `edit` or `unsend` counts: its sender sent the target, within 24 hours by the sender's clock. Else it is ignored."""
    return changer == target_sender and 0 <= change.at - target_at <= CHANGE_MILLISECONDS


def read_id(value: object) -> UUID:
    """An id in its canonical text form: lower case, with hyphens. Raises BadContent."""
    try:
        return parse_uuid(value)
    except ValueError:
        raise BadContent from None


def read_bytes(value: object, length: int) -> bytes:
    """`length` bytes in their canonical text form, standard base64 with padding. Raises BadContent."""
    try:
        found = decode_base64(value) if isinstance(value, str) else b""
    except ValueError:
        raise BadContent from None
    if len(found) != length or encode_base64(found) != value:
        raise BadContent
    return found


def _check(value: object, depth: int = 0) -> None:
    """Raises ValueError for JSON that not every client can represent: a lone surrogate, a number beyond 64 bits, too deep nesting."""
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, str):
        value.encode()
    if isinstance(value, int | float) and not abs(value) < MAX_NUMBER:
        raise ValueError("too large")
    inner = _parts(value) if isinstance(value, Mapping) else value
    if isinstance(inner, list | tuple):
        for each in inner:
            _check(each, depth + 1)


def _parts(value: Mapping[Any, Any]) -> tuple[Any, ...]:
    if not all(isinstance(name, str) for name in value):
        # As JSON, 1 and "1" would be one name twice.
        raise ValueError("a name that is no text")
    return (*value, *value.values())


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Parsers differ in which value of a repeated name they take: two readers would see two contents."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _reject_constant(_: str) -> Never:
    raise ValueError("not a JSON number")
