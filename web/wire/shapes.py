"""The base of all shapes: closed, camelCase, strict; and the types of their fields (docs/protocol.md, "Common rules" and "Account").

Shapes are subclasses of `WireModel`. Python code uses snake_case names; clients must send camelCase.
"""

import re
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from msgspec import ValidationError, convert, json
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from vyry.accounts.profile import USERNAME_RULE, read_username
from vyry.errors import InvalidRequest
from vyry.kernel.display_text import validate_line, validate_lines


MAX_INTEGER = 2**53 - 1
_DIGIT = "[A-Za-z0-9+/]"
#: The end of base64 text when the size modulo 3 is 0, 1 or 2.
_ENDS = ("", f"{_DIGIT}[AQgw]==", f"{_DIGIT}{{2}}[AEIMQUYcgkosw048]=")
ID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
TIMESTAMP_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
_ID_LENGTH: Final = 36
_encode: Final = json.Encoder().encode
_match_timestamp = re.compile(TIMESTAMP_PATTERN, re.ASCII).fullmatch


class WireModel(BaseModel):
    """A shape of a body, a frame or a part of one. Unknown fields are an error; no value is converted silently."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


class Nothing(WireModel):
    """An empty object."""


@dataclass(frozen=True, slots=True)
class Base64Bytes:
    """Marks `bytes` that are standard base64 with padding in JSON, and bin in MessagePack; sizes count decoded bytes."""

    min_size: int = 0
    max_size: int = 192 << 10

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._read, serialization=core_schema.plain_serializer_function_ser_schema(to_base64, when_used="json")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": self._pattern(),
            "minLength": (self.min_size + 2) // 3 * 4,
            "maxLength": (self.max_size + 2) // 3 * 4,
            "examples": [to_base64(bytes(self.min_size))],
        }

    def _pattern(self) -> str:
        if self.min_size == self.max_size:
            threes, left_over = divmod(self.min_size, 3)
            return f"^{_DIGIT}{{{threes * 4}}}{_ENDS[left_over]}$"
        return f"^(?:{_DIGIT}{{4}})*(?:{_ENDS[1]}|{_ENDS[2]})?$"

    def _read(self, value: object) -> bytes:
        octets = value if isinstance(value, bytes) else from_base64(value)
        if not self.min_size <= len(octets) <= self.max_size:
            raise ValueError(f"must be {_range(self.min_size, self.max_size)} bytes")
        return octets


@dataclass(frozen=True, slots=True)
class CanonicalId:
    """Marks a UUID in its canonical form: lower case with four hyphens."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            parse_id, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "uuid", "pattern": ID_PATTERN}


@dataclass(frozen=True, slots=True)
class Rfc3339:
    """Marks a datetime that is RFC 3339 in UTC with milliseconds and Z."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            parse_timestamp,
            serialization=core_schema.plain_serializer_function_ser_schema(to_rfc3339, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "date-time", "pattern": TIMESTAMP_PATTERN}


#: Bytes of any length that fits a body. For exact sizes write Annotated[bytes, Base64Bytes(32, 32)].
Base64 = Annotated[bytes, Base64Bytes()]
Id = Annotated[UUID, CanonicalId()]
Timestamp = Annotated[datetime, Rfc3339()]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
DeviceNumber = Annotated[int, Field(ge=1, le=127)]
PlatformName = Literal["ios", "android", "web", "desktop", "cli"]
#: A one-time code as the person typed it.
OneTimeCode = Annotated[str, Field(min_length=1, max_length=16, examples=["012345"])]
#: A PIN as the person typed it; the domain judges its strength, because that depends on the phone number.
Pin = Annotated[str, Field(min_length=1, max_length=128, examples=["739251"])]
Sha256 = Annotated[bytes, Base64Bytes(32, 32)]
PageLimit = Annotated[int, Field(ge=1, le=200)]
RegistrationId = Annotated[int, Field(ge=1, le=16_380)]


def to_base64(octets: bytes) -> str:
    """Standard base64 with padding, on one line."""
    return b2a_base64(octets, newline=False).decode("ascii")


def encode_json(value: object) -> bytes:
    """`value` as JSON on the wire; bytes in it become base64, and UUIDs text."""
    return _encode(value)


def from_base64(text: object) -> bytes:
    """The bytes of standard base64 with padding. Raises ValueError for url-safe, unpadded or malformed text and for set padding bits."""
    if not isinstance(text, str):
        raise ValueError("must be base64 text")  # noqa: TRY004  pydantic turns a ValueError alone into a wrong field
    try:
        # As strict as `a2b_base64(..., strict_mode=True)`, and four times faster.
        octets = convert(text, bytes)
    except ValidationError:
        raise ValueError("must be standard base64 with padding") from None
    if text[-4:] != to_base64(octets[-(len(octets) % 3 or 3) :]):
        raise ValueError("must be standard base64 with padding")
    return octets


def parse_id(value: object) -> UUID:
    """The UUID of this canonical text. Raises ValueError."""
    if type(value) is str:
        return _read_id(value)
    if isinstance(value, UUID):
        return value
    raise ValueError("must be a UUID in lower case")


@lru_cache(maxsize=65_536)
def _read_id(text: str) -> UUID:
    """Cached, because the same users and conversations recur."""
    return parse_new_id(text)


def parse_new_id(text: str) -> UUID:
    """The UUID of this canonical text, which is not expected again. Raises ValueError."""
    try:
        if len(text) == _ID_LENGTH and text == text.lower():
            return convert(text, UUID)
    except ValidationError:
        pass
    raise ValueError("must be a UUID in lower case")


def parse_timestamp(value: object) -> datetime:
    """An aware datetime in UTC from a datetime or its wire form. Raises ValueError."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, str) and _match_timestamp(value):
        return datetime.fromisoformat(value)
    raise ValueError("must be a time in RFC 3339, UTC, with milliseconds and Z")


@lru_cache(maxsize=4096)
def to_rfc3339(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds, Z. Cached, because all posts of a batch have the same time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


#: Columns count code points, so a composed character may count as several.
_CODE_POINTS_PER_CHARACTER: Final = 1


@dataclass(frozen=True, slots=True)
class CleanText:
    """Marks display text: trimmed, composed (NFC), without control and invisible characters."""

    clean: Callable[[str, int, int], str]
    max_length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._read, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "minLength": int(self.clean is validate_line), "maxLength": self.max_length}

    def _read(self, text: str) -> str:
        return self.clean(text, self.max_length, _CODE_POINTS_PER_CHARACTER)


@dataclass(frozen=True, slots=True)
class NamedUser:
    """Marks a username in either case; the error states the rule in words."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._read, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "minLength": 3, "maxLength": 30, "pattern": "^[A-Za-z0-9_.]+$"}

    def _read(self, text: str) -> str:
        try:
            return read_username(text)
        except InvalidRequest:
            raise ValueError(USERNAME_RULE) from None


Username = Annotated[str, NamedUser()]
Name = Annotated[str, CleanText(validate_line, 100)]
Bio = Annotated[str, CleanText(validate_lines, 500)]


class PageQuery(WireModel):
    """Which part of a list; the cursor is the `nextCursor` of the part before."""

    limit: PageLimit = 50
    cursor: Id | None = None
