"""Pins that one device of an account sends to another: identity keys with the decisions about them, conversations, names (sections 9 and 11)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, Self, TypeVar
from uuid import UUID

from vyry.kernel.base64_text import encode_base64
from vyry.kernel.display_text import clean_line
from vyry.signal_protocol.contents import read_bytes, read_id, write_object
from vyry.signal_protocol.primitives import KEY_BYTES
from vyry.signal_protocol.refusals import BadContent


#: Members of a group in one pin, at most.
MAX_MEMBERS: Final = 1_000
LONGEST_NAME: Final = 100
#: The first character of a name that the user gave.
GIVEN: Final = "="
_ID_BYTES: Final = 16
_LAST_MOMENT: Final = 2**53
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class IdentityPin:
    """The identity key stored for an account, whether its number was compared, and when a person decided that (ms since 1970; 0: never)."""

    FIELD: ClassVar[str] = "identities"
    user_id: UUID
    identity_key: bytes
    is_verified: bool
    at: int

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        key = {"userId": str(self.user_id), "identityKey": encode_base64(self.identity_key)}
        return {**key, "isVerified": self.is_verified, "at": self.at}

    @classmethod
    def read(cls, value: object) -> Self:
        """Raises BadContent."""
        fields = _object(value)
        is_verified, at = fields.get("isVerified"), fields.get("at")
        if not isinstance(is_verified, bool) or type(at) is not int or not 0 <= at < _LAST_MOMENT:
            raise BadContent
        return cls(read_id(fields.get("userId")), read_bytes(fields.get("identityKey"), KEY_BYTES), is_verified, at)


@dataclass(frozen=True, slots=True)
class DirectPin:
    """A direct conversation and its other account."""

    FIELD: ClassVar[str] = "directs"
    conversation_id: UUID
    user_id: UUID

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        return {"conversationId": str(self.conversation_id), "userId": str(self.user_id)}

    @classmethod
    def read(cls, value: object) -> Self:
        """Raises BadContent."""
        fields = _object(value)
        return cls(read_id(fields.get("conversationId")), read_id(fields.get("userId")))


@dataclass(frozen=True, slots=True)
class GroupPin:
    """A group and its last known members, without the own account."""

    FIELD: ClassVar[str] = "groups"
    conversation_id: UUID
    members: tuple[UUID, ...]

    def fields(self) -> dict[str, Any]:
        """The JSON form: the ids of the members are 16 bytes each, strictly ascending, so that a large group fits."""
        members = b"".join(sorted(each.bytes for each in self.members))
        return {"conversationId": str(self.conversation_id), "members": encode_base64(members)}

    @classmethod
    def read(cls, value: object) -> Self:
        """Raises BadContent."""
        fields = _object(value)
        text = fields.get("members")
        size = len(text) * 3 // 4 - text.count("=") if isinstance(text, str) else 0
        octets = read_bytes(text, size)
        ids = [octets[start : start + _ID_BYTES] for start in range(0, size, _ID_BYTES)]
        is_rising = all(one < behind for one, behind in pairwise(ids))
        if size % _ID_BYTES or len(ids) > MAX_MEMBERS or not is_rising:
            raise BadContent
        return cls(read_id(fields.get("conversationId")), tuple(UUID(bytes=each) for each in ids))


@dataclass(frozen=True, slots=True)
class NamePin:
    """A username with "@", a phone number, or with "=" the name that the user gave, and the account that it is remembered for."""

    FIELD: ClassVar[str] = "names"
    name: str
    user_id: UUID

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        return {"name": self.name, "userId": str(self.user_id)}

    @classmethod
    def read(cls, value: object) -> Self:
        """Raises BadContent."""
        fields = _object(value)
        name = fields.get("name")
        if not isinstance(name, str) or not is_name(name):
            raise BadContent
        return cls(name, read_id(fields.get("userId")))


Pin = IdentityPin | DirectPin | GroupPin | NamePin
_FIELDS: Final = (IdentityPin.FIELD, DirectPin.FIELD, GroupPin.FIELD, NamePin.FIELD)


@dataclass(frozen=True, slots=True)
class PinSet:
    """Pins for another own device."""

    identities: tuple[IdentityPin, ...] = ()
    directs: tuple[DirectPin, ...] = ()
    groups: tuple[GroupPin, ...] = ()
    names: tuple[NamePin, ...] = ()

    @classmethod
    def from_pins(cls, pins: Iterable[Pin]) -> Self:
        """These pins, in their order."""
        found = list(pins)
        return cls(
            tuple(each for each in found if isinstance(each, IdentityPin)),
            tuple(each for each in found if isinstance(each, DirectPin)),
            tuple(each for each in found if isinstance(each, GroupPin)),
            tuple(each for each in found if isinstance(each, NamePin)),
        )

    def all(self) -> tuple[Pin, ...]:
        """All pins."""
        return (*self.identities, *self.directs, *self.groups, *self.names)

    def fields(self) -> dict[str, Any]:
        """The JSON form."""
        found: dict[str, Any] = {}
        for each in self.all():
            found.setdefault(each.FIELD, []).append(each.fields())
        return found

    @classmethod
    def read(cls, value: object) -> Self:
        """The pins of another device; nothing in it occurs twice. Raises BadContent."""
        fields = _object(value)
        found = cls(
            _read(fields, IdentityPin.FIELD, IdentityPin.read),
            _read(fields, DirectPin.FIELD, DirectPin.read),
            _read(fields, GroupPin.FIELD, GroupPin.read),
            _read(fields, NamePin.FIELD, NamePin.read),
        )
        _check_once([each.user_id for each in found.identities])
        _check_once(
            [*(each.conversation_id for each in found.directs), *(each.conversation_id for each in found.groups)]
        )
        # Two people may have the same given name: what the user calls them is no address.
        _check_once([(each.name, each.user_id if is_given_name(each.name) else None) for each in found.names])
        return found


def split_pins(pins: Sequence[Pin], max_bytes: int) -> tuple[PinSet, Sequence[Pin]]:
    """As many of the first pins as fit into `max_bytes` of JSON together, and the rest."""
    max_bytes -= sum(len(f'"{each}":[],') for each in _FIELDS) + len("{}")
    taken = 0
    for each in pins:
        max_bytes -= len(write_object(each.fields())) + len(",")
        if max_bytes < 0:
            break
        taken += 1
    return PinSet.from_pins(pins[:taken]), pins[taken:]


def chunk_pins(pins: Sequence[Pin], max_bytes: int) -> Iterator[PinSet]:
    """All pins, in parts of at most `max_bytes` of JSON; a pin that is larger alone is left out."""
    while pins:
        part, rest = split_pins(pins, max_bytes)
        if part.all():
            yield part
        pins = rest if part.all() else rest[1:]


def is_name(text: str) -> bool:
    """Whether this can be a remembered name. A given name is one cleaned line."""
    if is_given_name(text):
        return 1 < len(text) <= LONGEST_NAME and clean_line(text[1:]) == text[1:]
    return (
        1 < len(text) <= LONGEST_NAME
        and text[0] in "@+"
        and text.isprintable()
        and not any(each.isspace() for each in text)
    )


def is_given_name(text: str) -> bool:
    """Whether this is the form of a name that the user gave to an account, instead of a username or number."""
    return text.startswith(GIVEN)


def _read(fields: dict[str, Any], name: str, read: Callable[[object], Value]) -> tuple[Value, ...]:
    found = fields.get(name, [])
    if not isinstance(found, list):
        raise BadContent
    return tuple(map(read, found))


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadContent
    return value


def _check_once(values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise BadContent
