"""Secrets that a person writes down and types: groups of four characters of base32, with check bytes at the end.

The alphabet is Crockford's: it has no I, L, O and U, so that what is misread can be typed as it looks.
"""

import base64
import re
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from typing import Final


_GROUP: Final = 4
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RFC_4648: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_WRITE: Final = str.maketrans(_RFC_4648, _CROCKFORD)
#: I and L are read as 1, O as 0.
_READ: Final = str.maketrans(f"{_CROCKFORD}ILO", f"{_RFC_4648}BBA")
_TYPED: Final = re.compile(f"[{_CROCKFORD}ILO]*")
#: Typed between groups, or copied with them: blanks, dots and every kind of dash.
_SEPARATORS: Final = re.compile(r"[\s.\-\u2010-\u2015\u2212]+")
#: A text may have this many times the characters of its secret; a longer one is refused unread.
_SPACING: Final = 4


class MistypedCode(ValueError):
    """A text has another length, another character or a wrong check; its message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedBase32:
    """The text form of one kind of secret. The check bytes are the first bytes of SHA-256(label || secret); with the secret they are a multiple of 5 bytes, which base32 writes without padding."""

    label: bytes
    secret_bytes: int
    check_bytes: int

    def __post_init__(self) -> None:
        if self.check_bytes < 1 or (self.secret_bytes + self.check_bytes) % 5:
            raise ValueError("secret and check must be a multiple of 5 bytes, with at least one check byte")

    @property
    def characters(self) -> int:
        """Characters of the text, without hyphens."""
        return (self.secret_bytes + self.check_bytes) // 5 * 8

    def encode(self, secret: bytes) -> str:
        """The text of a secret, with hyphens between its groups."""
        text = base64.b32encode(secret + self._check(secret)).decode().translate(_WRITE)
        return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))

    def decode(self, text: str) -> bytes:
        """The secret of a text as a person types it: in either case, with or without hyphens and blanks. Raises MistypedCode."""
        is_short = len(text) <= self.characters * _SPACING
        typed = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text)).upper() if is_short else ""
        if len(typed) != self.characters or not _TYPED.fullmatch(typed):
            raise MistypedCode(f"expected {self.characters // _GROUP} groups of four letters and digits")
        found = base64.b32decode(typed.translate(_READ))
        secret = found[: self.secret_bytes]
        if found[self.secret_bytes :] != self._check(secret):
            raise MistypedCode("a character is mistyped: the check at the end does not match")
        return secret

    def _check(self, secret: bytes) -> bytes:
        return sha256(self.label + secret).digest()[: self.check_bytes]
