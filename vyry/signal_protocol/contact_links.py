"""The link by which people add each other: the account, and a hash of its identity key (docs/signal-protocol.md, section 12).

Everything after `#` stays in the program that opens the link: the node does not see it.
"""

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from vyry.signal_protocol.refusals import Malformed


CONTACT: Final = "contact"
_HASH_BYTES: Final = 16
_MAX_LINK: Final = 2_000
_VALUE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9a-f]{32})", re.IGNORECASE)


def key_hash(identity_key: bytes) -> bytes:
    """The first 16 bytes of the SHA-256 of an identity key: finding another key with the same hash is infeasible."""
    return sha256(identity_key).digest()[:_HASH_BYTES]


@dataclass(frozen=True, slots=True)
class ContactLink:
    """An account of a node, and the hash of its identity key. `url`: the node, as it stands in the link."""

    url: str
    user_id: UUID
    key_hash: bytes

    @classmethod
    def of(cls, url: str, user_id: UUID, identity_key: bytes) -> Self:
        """The link of this account."""
        return cls(url.rstrip("/"), user_id, key_hash(identity_key))

    @classmethod
    def read(cls, text: str) -> Self:
        """The contact of a link, also where the link has further parts. Raises Malformed."""
        return cls.from_value(node_url(text), fragment_values(text).get(CONTACT, ""))

    @classmethod
    def from_value(cls, url: str, value: str) -> Self:
        """The contact `USERID.KEYHASH` of a link to this node. Raises Malformed."""
        found = _VALUE.fullmatch(value)
        if found is None:
            raise Malformed
        return cls(url, UUID(found[1]), bytes.fromhex(found[2]))

    @property
    def value(self) -> str:
        """USERID.KEYHASH."""
        return f"{self.user_id}.{self.key_hash.hex()}"

    def __str__(self) -> str:
        return f"{self.url}/#{CONTACT}={self.value}"

    def matches(self, identity_key: bytes) -> bool:
        """Whether the link was made of this key."""
        return hmac.compare_digest(self.key_hash, key_hash(identity_key))


def node_url(link: str) -> str:
    """The node of a link. Raises Malformed."""
    try:
        parts = urlsplit(link.strip())
        is_node = parts.scheme in ("https", "http") and parts.hostname is not None
    except ValueError:
        raise Malformed from None
    if not is_node or len(link) > _MAX_LINK:
        raise Malformed
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def fragment_values(link: str) -> dict[str, str]:
    """What stands after `#`: NAME=VALUE, several joined by `&`. A name that occurs twice counts for nothing. Raises Malformed."""
    _, _, fragment = link.strip().partition("#")
    if len(link) > _MAX_LINK:
        raise Malformed
    return {name: values[0] for name, values in parse_qs(fragment).items() if len(values) == 1}


def is_link(text: str) -> bool:
    """Whether this is meant as a link to a node rather than a name."""
    return text.strip().startswith(("https://", "http://"))
