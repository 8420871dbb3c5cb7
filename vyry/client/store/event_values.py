"""What an event is, and the values in it: a `name`, fields, and a `body` ready for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final
from uuid import UUID

from vyry.client.store.mailbox_chain import encode_base64


_HIDDEN: Final = ("number", "extra")


@dataclass(frozen=True, slots=True)
class Target:
    """An earlier content, whoever said it."""

    id: UUID
    sender_id: UUID

    def as_json(self) -> dict[str, str]:
        """As contents have it."""
        return {"id": str(self.id), "senderId": str(self.sender_id)}


@dataclass(frozen=True, slots=True)
class Attachment:
    """Where a sealed file lies and what opens it; `key` and `digest` never go to the node."""

    attachment_id: UUID
    key: bytes = field(repr=False)
    digest: bytes
    size: int
    media_type: str
    file_name: str | None = None
    #: The optional fields of docs/signal-protocol.md section 9 that say how to show it.
    look: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As contents have it."""
        name = {} if self.file_name is None else {"fileName": self.file_name}
        sealed = {"key": encode_base64(self.key), "digest": encode_base64(self.digest), "size": self.size}
        return {"attachmentId": str(self.attachment_id), **sealed, "mediaType": self.media_type, **name, **self.look}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that happened. `number` is its place in the store: the same when it comes again after a crash, 0 for what is never stored."""

    name: ClassVar[str]
    number: int = field(default=0, compare=False)

    @property
    def body(self) -> dict[str, Any]:
        """Its fields in camelCase, without those that say nothing."""
        told = {
            _camel(each.name): _as_json(getattr(self, each.name)) for each in fields(self) if each.name not in _HIDDEN
        }
        # What others made up stands behind what is known: no field of theirs takes the place of one of these.
        return {
            **_as_json(getattr(self, "extra", {})),
            **{name: value for name, value in told.items() if value is not None},
        }

    @property
    def history_conversation_id(self) -> UUID | None:
        """The conversation to whose history it belongs."""
        return None


def _camel(name: str) -> str:
    if name == "of":
        return "target"
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _as_json(value: Any) -> Any:  # noqa: PLR0911  a shape each
    match value:
        case UUID():
            return str(value)
        case bytes():
            return encode_base64(value)
        case Target() | Attachment():
            return value.as_json()
        case tuple() | list():
            return [_as_json(each) for each in value] or None
        case Mapping():
            return {name: _as_json(each) for name, each in value.items()}
        case _:
            return value
