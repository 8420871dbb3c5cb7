"""What a person should know about keys, devices and members: what changed, and what nobody honest could have made."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from vyry.client.store.event_values import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChanged(Event):
    """Somebody has another identity key: nothing of theirs is opened, and nothing sent, until `client.safety.accept`. Said again after each start while it is so.

    `waiting`: own messages that go out after the decision; `held`: contents of theirs that are opened after it; both as of now. Both 0 when it was decided meanwhile.
    """

    name: ClassVar[str] = "identityChanged"
    user_id: UUID
    waiting: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """A person decided on another own device which identity key of an account counts, and whether its number was compared: it counts here too."""

    name: ClassVar[str] = "decided"
    user_id: UUID
    is_verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnIdentityForged(Event):
    """The node shows keys for one's own account that the own identity key did not sign: nothing is sealed for them, nothing of them is believed. `source`: list, bundle, message or sync."""

    name: ClassVar[str] = "ownIdentityForged"
    source: str
    device_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDeviceAdded(Event):
    """The account has another device, verified under the own identity key. It should follow a link that was approved on one of one's devices; added before anything is sealed for it."""

    name: ClassVar[str] = "ownDeviceAdded"
    device_id: int
    device_name: str | None = None
    platform: str | None = None
    added_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationForged(Event):
    """The node changes what cannot change of a conversation: a direct one has other members than the pinned peer (`reason` member, `user_ids`), or the kind is another (`reason` kind). Nothing is sealed or opened there for them."""

    name: ClassVar[str] = "conversationForged"
    conversation_id: UUID
    reason: str
    user_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded(Event):
    """The node says that a group has another member; added before anything is sealed for them. Until members are signed for, the node vouches for who is in a group."""

    name: ClassVar[str] = "memberAdded"
    conversation_id: UUID
    user_id: UUID
    is_verified: bool

    @property
    def history_conversation_id(self) -> UUID | None:
        """See Event."""
        return self.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberForged(Event):
    """An account that is not a member of a group sent a content for it: nothing of it is believed. `kind` is that of the content."""

    name: ClassVar[str] = "memberForged"
    conversation_id: UUID
    user_id: UUID
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceListDiffers(Event):
    """One side does not see a device of an account: `seen_by` node (the node lists it, the account's own devices do not, or its key did not sign it) or peer (the node hides it). `device_id` None: which one is not known."""

    name: ClassVar[str] = "deviceListDiffers"
    user_id: UUID
    device_id: int | None = None
    seen_by: str
