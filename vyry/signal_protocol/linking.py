"""Linking: a device receives the account's identity over a channel that the node cannot read, secured by a QR code and six digits (section 11)."""

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from vyry.signal_protocol.frame import pad, unpad
from vyry.signal_protocol.primitives import KEY_BYTES, DhPair, hkdf, label, seal, unseal
from vyry.signal_protocol.refusals import BadMessage, LinkMismatch, Malformed, UnknownType, UnknownVersion


HEADER: Final = b"\x01\x20"
_HEADER_BYTES: Final = len(HEADER) + KEY_BYTES
_URI: Final = re.compile(r"vyry://link\?v=([0-9]+)&(.*)")
_FIELDS: Final = re.compile(
    r"id=([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})&k=([A-Za-z0-9_-]{43})&s=([A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True, slots=True)
class LinkOffer:
    """The contents of the QR code of a new device. The secret never goes to the node."""

    link_id: UUID
    public_key: bytes
    secret: bytes = field(repr=False)

    def uri(self) -> str:
        """The text of the QR code."""
        return f"vyry://link?v=1&id={self.link_id}&k={_text(self.public_key)}&s={_text(self.secret)}"

    @classmethod
    def read(cls, uri: str) -> Self:
        """The offer in a QR code. Raises Malformed, UnknownVersion."""
        found = _URI.fullmatch(uri)
        if found is None:
            raise Malformed
        if found[1] != "1":
            raise UnknownVersion
        fields = _FIELDS.fullmatch(found[2])
        if fields is None:
            raise Malformed
        return cls(UUID(fields[1]), _octets(fields[2]), _octets(fields[3]))


class AlreadySealed(Exception):
    """This attempt has sealed before. Post the same bytes again, or begin a new attempt: its key and nonce are used up."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").splitlines()[0])


class _SingleUse:
    """Whether the key and nonce of an attempt were used. Shared by copies of its secrets, as the key is."""

    __slots__ = ("_is_used",)

    def __init__(self) -> None:
        self._is_used = False

    def use(self) -> None:
        """Raises AlreadySealed at the second call."""
        if self._is_used:
            raise AlreadySealed
        self._is_used = True


@dataclass(frozen=True, slots=True)
class LinkSecrets:
    """The secrets that both sides of one attempt share."""

    approver_key: bytes
    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    #: Six digits to compare on both screens.
    compare_code: str
    _single_use: _SingleUse = field(default_factory=_SingleUse, repr=False, compare=False)

    @classmethod
    def derive(cls, offer: LinkOffer, own: DhPair, approver_key: bytes) -> Self:
        """From either side: `own` is the pair of the offer or of the approver. Raises BadKey."""
        theirs = approver_key if own.public == offer.public_key else offer.public_key
        info = label("link") + offer.link_id.bytes + offer.public_key + approver_key
        derived = hkdf(offer.secret, own.agree(theirs), info, 52)
        code = int.from_bytes(derived[44:], "big") % 10**6
        return cls(approver_key, derived[:32], derived[32:44], f"{code:06d}")

    def seal(self, plaintext: bytes) -> bytes:
        """`provisioning`, once per attempt: a second plaintext under the same key and nonce would let the node forge a third. Raises TooLarge, AlreadySealed."""
        padded, header = pad(plaintext), HEADER + self.approver_key
        self._single_use.use()
        return header + seal(self.key, self.nonce, padded, header)

    def open(self, provisioning: bytes) -> bytes:
        """The plaintext that the approver sealed. Raises LinkMismatch, Malformed, UnknownVersion, UnknownType, BadPadding."""
        if len(provisioning) < _HEADER_BYTES:
            raise Malformed
        if provisioning[0] != HEADER[0]:
            raise UnknownVersion
        if provisioning[1] != HEADER[1]:
            raise UnknownType
        header, sealed = provisioning[:_HEADER_BYTES], provisioning[_HEADER_BYTES:]
        if not hmac.compare_digest(header[len(HEADER) :], self.approver_key):
            raise LinkMismatch
        try:
            return unpad(unseal(self.key, self.nonce, sealed, header))
        except BadMessage:
            raise LinkMismatch from None


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _octets(text: str) -> bytes:
    """43 characters as 32 bytes; the two remaining bits are zero, so that a key has one text."""
    try:
        octets = base64.urlsafe_b64decode(text + "=")
    except binascii.Error:
        raise Malformed from None
    if _text(octets) != text:
        raise Malformed
    return octets
