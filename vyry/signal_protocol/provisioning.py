"""The data that the approving device sends to a new one inside `provisioning` (section 11, step 3)."""

import hmac
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import parse_object, read_bytes, read_id, write_object
from vyry.signal_protocol.pins import PinSet
from vyry.signal_protocol.primitives import KEY_BYTES, SigningPair
from vyry.signal_protocol.refusals import BadContent, LinkMismatch, UnknownVersion


VERSION: Final = 1
KIND: Final = "provisioning"


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The key that opens the information of a group."""

    conversation_id: UUID
    key: bytes = field(repr=False)
    generation: int


@dataclass(frozen=True, slots=True)
class Provisioning:
    """An account as its new device receives it: without earlier messages (`has_history`: they follow), and without anything that the node reports.

    The new device fetches the settings from the node. A field `settings` of older devices is ignored.
    """

    user_id: UUID
    identity: SigningPair
    profile_key: bytes = field(repr=False)
    group_keys: tuple[GroupKey, ...] = ()
    pins: PinSet = field(default_factory=PinSet)
    #: Whether a `sync` with the archive of the history follows.
    has_history: bool = False

    def pack(self) -> bytes:
        """The plaintext to seal. Raises BadContent."""
        group_keys = [
            {
                "conversationId": str(each.conversation_id),
                "groupKey": encode_base64(each.key),
                "generation": each.generation,
            }
            for each in self.group_keys
        ]
        return write_object(
            {
                "v": VERSION,
                "kind": KIND,
                "userId": str(self.user_id),
                "identityKey": encode_base64(self.identity.public),
                "identityPrivateKey": encode_base64(self.identity.private),
                "profileKey": encode_base64(self.profile_key),
                **({"groupKeys": group_keys} if group_keys else {}),
                **({"pins": self.pins.fields()} if self.pins.all() else {}),
                **({"hasHistory": True} if self.has_history else {}),
            }
        )

    @classmethod
    def read(cls, plaintext: bytes) -> Self:
        """The plaintext as a value. Raises BadContent, UnknownVersion; LinkMismatch when the private identity key does not match the public one."""
        fields = parse_object(plaintext)
        if type(fields.get("v")) is not int:
            raise BadContent
        if fields["v"] != VERSION:
            raise UnknownVersion
        groups = fields.get("groupKeys", [])
        if fields.get("kind") != KIND or not isinstance(groups, list):
            raise BadContent
        identity = SigningPair.from_private(read_bytes(fields.get("identityPrivateKey"), KEY_BYTES))
        if not hmac.compare_digest(identity.public, read_bytes(fields.get("identityKey"), KEY_BYTES)):
            raise LinkMismatch
        profile_key = read_bytes(fields.get("profileKey"), KEY_BYTES)
        pins, has_history = PinSet.read(fields.get("pins", {})), fields.get("hasHistory", False)
        if not isinstance(has_history, bool):
            raise BadContent
        user_id = read_id(fields.get("userId"))
        return cls(user_id, identity, profile_key, tuple(map(_group_key, groups)), pins, has_history)


def _group_key(fields: object) -> GroupKey:
    if not isinstance(fields, dict) or type(fields.get("generation")) is not int or fields["generation"] < 0:
        raise BadContent
    return GroupKey(
        read_id(fields.get("conversationId")), read_bytes(fields.get("groupKey"), KEY_BYTES), fields["generation"]
    )
