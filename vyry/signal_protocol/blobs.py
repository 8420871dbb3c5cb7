"""Sealed blobs: a JSON object that the node stores and only devices with the key can open (section 9)."""

import secrets
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from vyry.signal_protocol.contents import parse_object, write_object
from vyry.signal_protocol.frame import pad, unpad
from vyry.signal_protocol.primitives import TAG_BYTES, Z32, hkdf, label, seal, unseal
from vyry.signal_protocol.refusals import Malformed, UnknownVersion


VERSION: Final = 1
_HEAD: Final = bytes([VERSION])
_NONCE_BYTES: Final = 12


class BlobKind(Enum):
    """The kind of a sealed blob: the label that separates its key from those of other kinds."""

    PROFILE = "profile"
    GROUP_INFO = "group info"


def seal_blob(key: bytes, blob: BlobKind, fields: Mapping[str, Any]) -> bytes:
    """A `sealedProfile` or `sealedInfo`. Raises BadContent, TooLarge."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _HEAD + nonce + seal(_key(key, blob), nonce, pad(write_object(fields)), _associated(blob))


def open_blob(key: bytes, blob: BlobKind, sealed: bytes) -> dict[str, Any]:
    """The object sealed under this key as this kind of blob. Raises UnknownVersion, Malformed, BadMessage, BadPadding, BadContent."""
    if len(sealed) < len(_HEAD) + _NONCE_BYTES + TAG_BYTES:
        raise Malformed
    if not sealed.startswith(_HEAD):
        raise UnknownVersion
    nonce, rest = sealed[len(_HEAD) :][:_NONCE_BYTES], sealed[len(_HEAD) + _NONCE_BYTES :]
    return parse_object(unpad(unseal(_key(key, blob), nonce, rest, _associated(blob))))


def _key(key: bytes, blob: BlobKind) -> bytes:
    return hkdf(Z32, key, label(blob.value), 32)


def _associated(blob: BlobKind) -> bytes:
    return label(blob.value) + _HEAD
