"""What is to be sent, as it is kept until the node has it, and what was sent, kept for those who could not read it (docs/signal-protocol.md, "Retry")."""

import secrets
from dataclasses import dataclass, field, replace
from uuid import UUID

from vyry.client.packing import pack, unpack
from vyry.client.store import Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.retries import MAX_SENT, SENT_MILLISECONDS, may_resend


_KIND = "outgoing"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A content on its way. `body` is what was sealed, as it is posted until somebody answers; None has to be sealed first.

    `people`: who gets it, None for everybody there; `device`: the only device that does. Others whom the node wants named get a content without effect. `own`
    is what one's own other devices get in its place. `is_pairwise`: never under a sender key.
    """

    message_id: UUID
    number: int
    kind: str
    content_id: UUID
    conversation_id: UUID
    lane: str
    plaintext: bytes = field(repr=False)
    own: bytes | None = field(default=None, repr=False)
    people: tuple[UUID, ...] | None = None
    device: tuple[UUID, int] | None = None
    is_pairwise: bool = False
    body: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, content: Content, now: int, lane: str = "mail") -> "Outgoing":
        """For everybody in the conversation."""
        return cls(new_id(now), 0, content.kind, content.id, content.conversation_id, lane, content.pack())


@dataclass(frozen=True, slots=True)
class Sent:
    """A content that was posted, when (ms since 1970), and to which devices."""

    plaintext: bytes = field(repr=False)
    own: bytes | None = field(repr=False)
    devices: tuple[tuple[UUID, int], ...]
    is_group: bool = False
    at: int = 0

    def may_go_again(self, asker: Address, now: int) -> bool:
        """Whether a device that could not read it gets it once more."""
        return may_resend([Address(*each) for each in self.devices], asker, self.at, now)


class Queue:
    """Reads and writes it, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, outgoing: Outgoing) -> None:
        """From here on it is sent, whatever happens, behind all that was added before."""
        number = int(self._store.get("outgoing number") or b"0") + 1
        self._store.put("outgoing number", "", str(number).encode())
        self.keep(replace(outgoing, number=number))

    def keep(self, outgoing: Outgoing) -> None:
        """Store it in its present state."""
        self._store.put(_KIND, str(outgoing.message_id), pack(outgoing))

    def drop(self, outgoing: Outgoing) -> None:
        """It is sent, or never will be."""
        self._store.put(_KIND, str(outgoing.message_id), None)

    def waiting(self) -> list[Outgoing]:
        """Everything that is still to be sent, in order."""
        return sorted((unpack(Outgoing, kept) for kept in self._store.all(_KIND)), key=lambda each: each.number)

    def note(self, message_id: UUID, sent: Sent, now: int) -> None:
        """Keep what was sent, for those who cannot read it; of too many the oldest go."""
        number = int(self._store.get("sent number") or b"0") + 1
        self._store.put("sent number", "", str(number).encode())
        until = now + SENT_MILLISECONDS
        before = self._store.get("sent place", str(number % MAX_SENT))
        if before is not None:
            self._store.put("sent", str(UUID(bytes=before)), None)
        self._store.put("sent place", str(number % MAX_SENT), message_id.bytes, until=until)
        self._store.put("sent", str(message_id), pack(replace(sent, at=now)), until=until)

    def sent(self, message_id: UUID) -> Sent | None:
        """What was posted under this id, as long as it is kept."""
        kept = self._store.get("sent", str(message_id))
        return unpack(Sent, kept) if kept else None


def new_id(now: int) -> UUID:
    """A UUID of version 7 (RFC 9562 section 5.7): ids sort by the time they were made."""
    number = (now << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    return UUID(int=number)


def only(address: Address) -> tuple[UUID, int]:
    """A device as it is kept here."""
    return address.user_id, address.device_id
