"""Posts and acknowledgements straight from bytes: the fast path of the most frequent frames, in JSON and in MessagePack.

It reads a part of what the shapes `Post` and `Acknowledge` accept, with the same value, and returns None for everything else: the caller then reads the same
bytes with the strict path, which alone refuses. tests/unit/web/wire/test_fast_frames.py compares both paths.

msgspec accepts more than the strict path in these points, and each is left to the strict path here: a repeated name, whitespace other than spaces, escapes,
and longer forms of MessagePack than need be (each makes the input longer than the value when it is encoded again, and nothing makes it shorter); a UUID
that is not canonical; base64 with padding bits.
"""

from collections.abc import Callable
from typing import Annotated, Final, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vyry.kernel.sizes import MAX_CONTENT_BYTES, MAX_COPIES, MAX_LIFE_SECONDS
from web.wire.shapes import MAX_INTEGER, from_base64, parse_id, parse_new_id


#: Bytes on the wire: base64 text in JSON, bin in MessagePack.
Octets = TypeVar("Octets", str, bytes)
_Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
_HEAD_BYTES: Final = 32
_Unread = (msgspec.MsgspecError, ValueError, RecursionError)


class FastCopy(msgspec.Struct, gc=False):
    """A copy for one device."""

    device_id: int
    registration_id: int
    kind: int
    content: bytes | None


class FastRecipient(msgspec.Struct, gc=False):
    """One account and its devices."""

    user_id: UUID
    devices: list[FastCopy]


class FastPost(msgspec.Struct, gc=False):
    """The fields of `Post`, without its checks: they have been made."""

    message_id: UUID
    conversation_id: UUID
    conversation_version: int | None
    lane: Literal["mail", "control"]
    urgent: bool
    expires_in_seconds: int
    content: bytes | None
    recipients: list[FastRecipient]


class FastAcknowledge(msgspec.Struct, gc=False):
    """The fields of `Acknowledge`."""

    seq: int
    head: bytes


class FastFrame(NamedTuple):
    """A frame that was read on the fast path."""

    name: str
    ref: str
    payload: FastPost | FastAcknowledge


class _Shape(msgspec.Struct, forbid_unknown_fields=True, rename="camel", gc=False):
    """The base of the frames that are read: closed, with the names of the wire. A missing field stays UNSET, so that the value is encoded again as it was sent."""


class _Device(_Shape, Generic[Octets], gc=False):
    device_id: Annotated[int, Meta(ge=1, le=127)]
    registration_id: Annotated[int, Meta(ge=1, le=16_380)]
    kind: Annotated[int, Meta(ge=0, le=255)] | UnsetType = UNSET
    content: Octets | UnsetType | None = UNSET


class _Recipient(_Shape, Generic[Octets], gc=False):
    user_id: str
    devices: Annotated[list[_Device[Octets]], Meta(max_length=127)]
    epoch: _Count | UnsetType | None = UNSET


class _Post(_Shape, Generic[Octets], gc=False):
    message_id: str
    conversation_id: str
    recipients: Annotated[list[_Recipient[Octets]], Meta(min_length=1, max_length=MAX_COPIES)]
    conversation_version: _Count | UnsetType | None = UNSET
    lane: Literal["mail", "control"] | UnsetType = UNSET
    urgent: bool | UnsetType = UNSET
    expires_in_seconds: Annotated[int, Meta(ge=1, le=MAX_LIFE_SECONDS)] | UnsetType = UNSET
    content: Octets | UnsetType | None = UNSET


class _Acknowledge(_Shape, Generic[Octets], gc=False):
    seq: _Count
    head: Octets


class _PostFrame(_Shape, Generic[Octets], gc=False, tag_field="type", tag="post"):
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    payload: _Post[Octets]


class _AcknowledgeFrame(_Shape, Generic[Octets], gc=False, tag_field="type", tag="acknowledge"):
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    payload: _Acknowledge[Octets]


_json_frame: Final = msgspec.json.Decoder(_PostFrame[str] | _AcknowledgeFrame[str]).decode
_json_post: Final = msgspec.json.Decoder(_Post[str]).decode
_json_encode: Final = msgspec.json.Encoder().encode
_msgpack_frame: Final = msgspec.msgpack.Decoder(_PostFrame[bytes] | _AcknowledgeFrame[bytes]).decode
_msgpack_encode: Final = msgspec.msgpack.Encoder().encode


def read_json_frame(raw: bytes) -> FastFrame | None:
    """The post or acknowledgement in these bytes; None for any other input, valid or not."""
    try:
        frame = _json_frame(raw)
        if not _is_written_once(raw, frame, frame.id.count(" ")):
            return None
        if isinstance(frame, _PostFrame):
            return FastFrame("post", frame.id, _post(frame.payload, from_base64))
        return FastFrame("acknowledge", frame.id, _acknowledge(frame.payload, from_base64))
    except _Unread:
        return None


def read_msgpack_frame(raw: bytes) -> FastFrame | None:
    """As `read_json_frame`, for MessagePack."""
    try:
        frame = _msgpack_frame(raw)
        if len(_msgpack_encode(frame)) != len(raw):
            return None
        if isinstance(frame, _PostFrame):
            return FastFrame("post", frame.id, _post(frame.payload, _as_sent))
        return FastFrame("acknowledge", frame.id, _acknowledge(frame.payload, _as_sent))
    except _Unread:
        return None


def read_json_post(raw: bytes) -> FastPost | None:
    """The body of `POST /messages` in these bytes; None for any other input, valid or not."""
    try:
        post = _json_post(raw)
        return _post(post, from_base64) if _is_written_once(raw, post, 0) else None
    except _Unread:
        return None


def _is_written_once(raw: bytes, value: object, spaces: int) -> bool:
    """Whether this JSON text has nothing that `value` lacks, but spaces between its parts; `spaces` are those inside of its texts."""
    return len(_json_encode(value)) == len(raw) - raw.count(b" ") + spaces


def _post(sent: _Post[Octets], read: Callable[[Octets], bytes]) -> FastPost:
    """The post. Raises ValueError for an id or content that the strict path has to judge."""
    return FastPost(
        parse_new_id(sent.message_id),
        parse_id(sent.conversation_id),
        None if sent.conversation_version is UNSET else sent.conversation_version,
        "mail" if sent.lane is UNSET else sent.lane,
        True if sent.urgent is UNSET else sent.urgent,
        MAX_LIFE_SECONDS if sent.expires_in_seconds is UNSET else sent.expires_in_seconds,
        _content(sent.content, read),
        [
            FastRecipient(parse_id(each.user_id), [_copy(copy, read) for copy in each.devices])
            for each in sent.recipients
        ],
    )


def _copy(sent: _Device[Octets], read: Callable[[Octets], bytes]) -> FastCopy:
    kind = 0 if sent.kind is UNSET else sent.kind
    return FastCopy(sent.device_id, sent.registration_id, kind, _content(sent.content, read))


def _content(sent: Octets | UnsetType | None, read: Callable[[Octets], bytes]) -> bytes | None:
    if sent is None or sent is UNSET:
        return None
    octets = read(sent)
    if not 1 <= len(octets) <= MAX_CONTENT_BYTES:
        raise ValueError
    return octets


def _acknowledge(sent: _Acknowledge[Octets], read: Callable[[Octets], bytes]) -> FastAcknowledge:
    head = read(sent.head)
    if len(head) != _HEAD_BYTES:
        raise ValueError
    return FastAcknowledge(sent.seq, head)


def _as_sent(octets: bytes) -> bytes:
    return octets
