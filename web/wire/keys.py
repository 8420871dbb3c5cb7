"""Key sets of devices: for publishing and for linking (docs/protocol.md, "Keys").

Only types, counts and base64 are checked here; ids, lengths, points and signatures are the domain's (INVALID_KEYS).
"""

from typing import Annotated, Literal

from pydantic import Field

from vyry.devices.keyset import Identity, KeyUpload, OneTimePrekey, SignedPrekey, Suite
from web.wire.shapes import Base64, WireModel


PrekeyId = Annotated[int, Field(json_schema_extra={"minimum": 1, "maximum": 2**31 - 1})]
UncheckedRegistrationId = Annotated[int, Field(json_schema_extra={"minimum": 1, "maximum": 16380})]
SuiteName = Literal["vyry", "libsignal"]


class UnsignedKey(WireModel):
    """A one-time prekey."""

    id: PrekeyId
    key: Base64

    def to_domain(self) -> OneTimePrekey:
        """The domain value of this shape."""
        return OneTimePrekey(self.id, self.key)


class SignedKey(WireModel):
    """A prekey with the identity key's signature."""

    id: PrekeyId
    key: Base64
    signature: Base64

    def to_domain(self) -> SignedPrekey:
        """The domain value of this shape."""
        return SignedPrekey(self.id, self.key, self.signature)

    @classmethod
    def from_domain(cls, prekey: SignedPrekey) -> "SignedKey":
        """The shape of this domain value."""
        return cls(id=prekey.id, key=prekey.key, signature=prekey.signature)


class KeySet(WireModel):
    """A whole set of keys for the caller's device (PUT /keys)."""

    suite: SuiteName
    registration_id: UncheckedRegistrationId
    identity_key: Base64
    identity_dh_key: Base64 | None = None
    identity_dh_signature: Base64 | None = None
    signed_prekey: SignedKey
    one_time_prekeys: Annotated[list[UnsignedKey], Field(max_length=100)]
    pq_last_resort: SignedKey
    pq_prekeys: Annotated[list[SignedKey], Field(max_length=100)]

    def to_domain(self) -> KeyUpload:
        """The domain value of this shape."""
        identity = Identity(Suite(self.suite), self.identity_key, self.identity_dh_key, self.identity_dh_signature)
        return KeyUpload(
            self.registration_id,
            identity,
            self.signed_prekey.to_domain(),
            self.pq_last_resort.to_domain(),
            [prekey.to_domain() for prekey in self.one_time_prekeys],
            [prekey.to_domain() for prekey in self.pq_prekeys],
        )
