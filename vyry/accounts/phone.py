"""Telephone numbers: how they are read, hidden in the database and shown.

Promise: without the pepper, which never is in the database, what is stored neither names a number nor can be searched by guessing numbers.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from phonenumbers import NumberParseException, is_possible_number, parse

from vyry.errors import InvalidRequest


_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_NONCE_BYTES: Final = 12
_SHOWN_DIGITS: Final = 2


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number in E.164 whose text form is masked; `e164` is for the sender of messages and the owner alone."""

    e164: str

    def __repr__(self) -> str:
        return self.masked

    def __str__(self) -> str:
        return self.masked

    @property
    def masked(self) -> str:
        """Country code and the last two digits: +41•••••••67."""
        prefix = f"+{parse(self.e164).country_code}"
        hidden = len(self.e164) - len(prefix) - _SHOWN_DIGITS
        return f"{prefix}{'•' * hidden}{self.e164[-_SHOWN_DIGITS:]}"


def read_number(text: str) -> PhoneNumber:
    """The number this text names. Raises InvalidRequest unless it is E.164 and possible in its country."""
    try:
        is_good = _E164.fullmatch(text) is not None and is_possible_number(parse(text))
    except NumberParseException:
        is_good = False
    if not is_good:
        raise InvalidRequest(fields=[{"field": "phoneNumber", "problem": "not E.164"}])
    return PhoneNumber(text)


class Pepper:
    """The node's secret over everything guessable: numbers and one-time codes."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._seal = AESGCM(self._mac(b"vyry phone seal 1"))

    def __repr__(self) -> str:
        return "Pepper()"

    def hash_number(self, number: PhoneNumber) -> str:
        """What finds the account of a number: a keyed hash, in hex."""
        return self._mac(b"vyry phone 1", number.e164.encode()).hex()

    def seal(self, number: PhoneNumber) -> bytes:
        """The number, encrypted and authenticated, different each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, number.e164.encode(), None)

    def unseal(self, sealed: bytes) -> PhoneNumber:
        """The number that was sealed."""
        return PhoneNumber(self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode())

    def hash_code(self, challenge: UUID, purpose: str, code: str) -> bytes:
        """What is stored of a one-time code: bound to its challenge and purpose, worthless for any other."""
        return self._mac(b"vyry otp 1", challenge.bytes + purpose.encode() + b"\0" + code.encode())

    def _mac(self, label: bytes, message: bytes = b"") -> bytes:
        return hmac.digest(self._secret, label + b"\0" + message, "sha256")
