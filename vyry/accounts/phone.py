"""Telephone numbers: how they are read, hidden in the database and shown.

Promise: without the pepper, which never is in the database, what is stored neither names a number nor can be searched by guessing numbers.
"""

import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from phonenumbers import parse

from vyry.errors import InvalidRequest, Unavailable
from vyry.kernel.phone_numbers import InvalidPhoneNumber, normalize_number


_NONCE_BYTES: Final = 12
_SHOWN_DIGITS: Final = 2
#: A pepper file that holds nothing but one secret is this one.
FIRST_PEPPER: Final = 1
_NUMBER: Final = b"vyry phone 1"
_CODE: Final = b"vyry otp 1"


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
    """The number this text names, in the one form that is stored, counted and sent to. Raises InvalidRequest, which says what is wrong with it."""
    try:
        return PhoneNumber(normalize_number(text))
    except InvalidPhoneNumber as wrong:
        raise InvalidRequest(fields=[{"field": "phoneNumber", "problem": str(wrong)}]) from None


@dataclass(frozen=True, slots=True)
class HiddenNumber:
    """A number as the database may know it: sealed and hashed under the pepper in use, and its hashes under all peppers of the ring, to find it by."""

    pepper_id: int
    hash: str
    sealed: bytes = field(repr=False)
    #: By pepper id.
    hashes: Mapping[int, str]


class _Secret:
    """One pepper of the ring."""

    __slots__ = ("_key", "_seal")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seal = AESGCM(self.mac(b"vyry phone seal 1"))

    def mac(self, label: bytes, message: bytes = b"") -> bytes:
        return hmac.digest(self._key, label + b"\0" + message, "sha256")

    def seal(self, plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, plain, None)

    def unseal(self, sealed: bytes) -> bytes:
        return self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)


class Pepper:
    """The node's secrets over everything guessable: numbers, one-time codes, PINs.

    It is a ring: one pepper is in use, what the others of the ring made is still found and read. Every method raises Unavailable while the
    installation uses a pepper that this node lacks, rather than make what the other nodes cannot find.
    """

    def __init__(self, peppers: bytes | Mapping[int, bytes], in_use: int = FIRST_PEPPER) -> None:
        self._keys: Mapping[int, _Secret] = {}
        self._in_use = in_use
        self.replace({FIRST_PEPPER: peppers} if isinstance(peppers, bytes) else peppers, in_use)

    def __repr__(self) -> str:
        return "Pepper()"

    @property
    def in_use(self) -> int:
        """The id of the pepper under which everything new is made."""
        self._secret(None)
        return self._in_use

    def replace(self, peppers: Mapping[int, bytes], in_use: int) -> None:
        """From now on these are the peppers, and this is the one in use."""
        self._keys = {pepper_id: _Secret(key) for pepper_id, key in sorted(peppers.items(), reverse=True)}
        self._in_use = in_use

    def hash_number(self, number: PhoneNumber) -> str:
        """The name of a number in counters and limits, in hex: a keyed hash under the pepper in use. An account is found by `hide(number).hashes`."""
        return self.keyed_hash(_NUMBER, number.e164.encode()).hex()

    def hide(self, number: PhoneNumber) -> HiddenNumber:
        """All that may be stored of a number."""
        plain = number.e164.encode()
        current, ring, pepper_id = self._secret(None), self._keys, self._in_use
        hashes = {each: secret.mac(_NUMBER, plain).hex() for each, secret in ring.items()}
        return HiddenNumber(pepper_id, hashes[pepper_id], current.seal(plain), hashes)

    def unseal(self, sealed: bytes) -> PhoneNumber:
        """The number that was sealed, under whichever pepper of the ring."""
        for secret in self._keys.values():
            with suppress(InvalidTag):
                return PhoneNumber(secret.unseal(sealed).decode())
        raise Unavailable("This node lacks the pepper of a number.")

    def hash_code(self, challenge: UUID, purpose: str, code: str) -> bytes:
        """What is stored of a one-time code: bound to its challenge and purpose, worthless for any other."""
        return self.keyed_hash(_CODE, _code(challenge, purpose, code))

    def guess_hashes(self, challenge: UUID, purpose: str, code: str) -> tuple[bytes, bytes]:
        """What a right guess may be stored as: under the two newest peppers, for a code lives for three minutes and nodes change over within seconds."""
        self._secret(None)
        newest = [secret.mac(_CODE, _code(challenge, purpose, code)) for secret in islice(self._keys.values(), 2)]
        return newest[0], newest[-1]

    def keyed_hash(self, label: bytes, message: bytes, pepper_id: int | None = None) -> bytes:
        """A keyed hash of 32 bytes for the use that `label` names, under the pepper in use or the one that a row names."""
        return self._secret(pepper_id).mac(label, message)

    def _secret(self, pepper_id: int | None) -> _Secret:
        found = self._keys.get(self._in_use if pepper_id is None else pepper_id)
        if found is None:
            raise Unavailable("This node lacks a pepper that is in use.")
        return found


def fingerprint(secret: bytes) -> str:
    """By which nodes tell that they have the same pepper; it tells nothing else, for a pepper cannot be guessed."""
    return hmac.digest(secret, b"vyry pepper fingerprint 1", "sha256").hex()


def _code(challenge: UUID, purpose: str, code: str) -> bytes:
    return challenge.bytes + purpose.encode() + b"\0" + code.encode()
