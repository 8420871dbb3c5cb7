"""What the existing device hands to the new one inside `provisioning` (section 11, step 3)."""

import hmac
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import parse_object, read_bytes, read_id, write_object
from vyry.signal_protocol.pins import HandedPins
from vyry.signal_protocol.primitives import KEY_BYTES, SigningPair
from vyry.signal_protocol.refusals import BadContent, LinkMismatch, UnknownVersion


VERSION: Final = 1
KIND: Final = "provisioning"


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What opens the title of a group."""

    conversation_id: UUID
    key: bytes = field(repr=False)
    generation: int


@dataclass(frozen=True, slots=True)
class Provisioning:
    """An account as its new device gets it: messages from before are not part of it, and nothing that the node tells.

    The new device reads the settings from the node, whose they are. A field `settings` of older devices is ignored.
    """

    user_id: UUID
    identity: SigningPair
    profile_key: bytes = field(repr=False)
    group_keys: tuple[GroupKey, ...] = ()
    pins: HandedPins = field(default_factory=HandedPins)

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
            }
        )

    @classmethod
    def read(cls, plaintext: bytes) -> Self:
        """What was opened. Raises BadContent, UnknownVersion; LinkMismatch when the private identity key does not make the public one."""
        said = parse_object(plaintext)
        if type(said.get("v")) is not int:
            raise BadContent
        if said["v"] != VERSION:
            raise UnknownVersion
        groups = said.get("groupKeys", [])
        if said.get("kind") != KIND or not isinstance(groups, list):
            raise BadContent
        identity = SigningPair.from_private(read_bytes(said.get("identityPrivateKey"), KEY_BYTES))
        if not hmac.compare_digest(identity.public, read_bytes(said.get("identityKey"), KEY_BYTES)):
            raise LinkMismatch
        profile_key = read_bytes(said.get("profileKey"), KEY_BYTES)
        pins = HandedPins.read(said.get("pins", {}))
        return cls(read_id(said.get("userId")), identity, profile_key, tuple(map(_group_key, groups)), pins)


def _group_key(said: object) -> GroupKey:
    if not isinstance(said, dict) or type(said.get("generation")) is not int or said["generation"] < 0:
        raise BadContent
    return GroupKey(
        read_id(said.get("conversationId")), read_bytes(said.get("groupKey"), KEY_BYTES), said["generation"]
    )
