"""The text form of a recovery code: 16 random bytes and 4 bytes of check, as eight groups of four characters (docs/protocol.md, "Recovery code").

20 bytes are exactly 32 characters of base32. The alphabet is Crockford's: it has no I, L, O and U, so that what is misread can be typed as it looks.
"""

import base64
import binascii
import re
import unicodedata
from hashlib import sha256
from typing import Final


#: The random bytes of a code.
VALUE_BYTES: Final = 16
_CHECK_BYTES: Final = 4
_LABEL: Final = b"vyry recovery code 1\0"
_GROUP: Final = 4
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RFC_4648: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_WRITE: Final = str.maketrans(_RFC_4648, _CROCKFORD)
#: I and L are read as 1, O as 0.
_READ: Final = str.maketrans(f"{_CROCKFORD}ILO", f"{_RFC_4648}BBA")
#: Typed between groups, or copied with them: blanks, dots and every kind of dash.
_SEPARATORS: Final = re.compile(r"[\s.\-\u2010-\u2015\u2212]+")
_SHAPE: Final = re.compile(f"[{_CROCKFORD}ILO]{{32}}")
#: Longer texts are not looked at.
_LONGEST: Final = 128


class InvalidRecoveryCode(ValueError):
    """A text is no recovery code: it has another length, another character or a wrong check."""


def encode_recovery_code(value: bytes) -> str:
    """The text of 16 random bytes: XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX."""
    text = base64.b32encode(value + _check(value)).decode().translate(_WRITE)
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def parse_recovery_code(text: str) -> bytes:
    """The 16 bytes of a code as a person types it: in either case, with or without hyphens and blanks. Raises InvalidRecoveryCode."""
    typed = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text[: _LONGEST + 1])).upper()
    if len(text) > _LONGEST or not _SHAPE.fullmatch(typed):
        raise InvalidRecoveryCode("a recovery code has eight groups of four letters and digits")
    try:
        found = base64.b32decode(typed.translate(_READ))
    except binascii.Error:
        raise InvalidRecoveryCode("a recovery code has eight groups of four letters and digits") from None
    value = found[:VALUE_BYTES]
    if found[VALUE_BYTES:] != _check(value):
        raise InvalidRecoveryCode("a character is mistyped: the check at the end does not match")
    return value


def _check(value: bytes) -> bytes:
    return sha256(_LABEL + value).digest()[:_CHECK_BYTES]
