"""Phone numbers: parsing, masking, and how the database stores them.

The database has a keyed hash and a ciphertext of a number. Without the pepper, which is never in the database, it reveals no number, not even by guessing.
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
#: The id of the pepper in a file with a single secret.
FIRST_PEPPER: Final = 1
_NUMBER: Final = b"vyry phone 1"
_CODE: Final = b"vyry otp 1"


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number in E.164. Its text form is masked; `e164` is for the sender of codes and for the owner only."""

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
    """Parse a number into its canonical form. Raises InvalidRequest with the problem."""
    try:
        return PhoneNumber(normalize_number(text))
    except InvalidPhoneNumber as wrong:
        raise InvalidRequest(fields=[{"field": "phoneNumber", "problem": str(wrong)}]) from None


@dataclass(frozen=True, slots=True)
class HiddenNumber:
    """A number as the database stores it: sealed and hashed under the current pepper, and its hashes under every pepper, for look-ups."""

    pepper_id: int
    hash: str
    sealed: bytes = field(repr=False)
    #: By pepper id.
    hashes: Mapping[int, str]


class _Secret:
    """A pepper."""

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
    """The node's secrets for values that can be guessed: phone numbers, one-time codes, PINs.

    One of the peppers is current; hashes and ciphertexts under the others can still be found and read. Every method raises Unavailable while the
    installation uses a pepper that this node lacks: the other nodes could not find what it would write.
    """

    def __init__(self, peppers: bytes | Mapping[int, bytes], in_use: int = FIRST_PEPPER) -> None:
        self._keys: Mapping[int, _Secret] = {}
        self._in_use = in_use
        self.replace({FIRST_PEPPER: peppers} if isinstance(peppers, bytes) else peppers, in_use)

    def __repr__(self) -> str:
        return "Pepper()"

    @property
    def in_use(self) -> int:
        """The id of the current pepper."""
        self._secret(None)
        return self._in_use

    def replace(self, peppers: Mapping[int, bytes], in_use: int) -> None:
        """Replace all peppers; `in_use` is the id of the current one."""
        self._keys = {pepper_id: _Secret(key) for pepper_id, key in sorted(peppers.items(), reverse=True)}
        self._in_use = in_use

    def hash_number(self, number: PhoneNumber) -> str:
        """The key of a number in rate limits: its hash under the current pepper, in hex. An account is found by `hide(number).hashes`."""
        return self.keyed_hash(_NUMBER, number.e164.encode()).hex()

    def hide(self, number: PhoneNumber) -> HiddenNumber:
        """Hash and seal a number for the database."""
        plain = number.e164.encode()
        current, peppers, pepper_id = self._secret(None), self._keys, self._in_use
        hashes = {each: secret.mac(_NUMBER, plain).hex() for each, secret in peppers.items()}
        return HiddenNumber(pepper_id, hashes[pepper_id], current.seal(plain), hashes)

    def unseal(self, sealed: bytes) -> PhoneNumber:
        """Decrypt a number that was sealed under any of the peppers."""
        for secret in self._keys.values():
            with suppress(InvalidTag):
                return PhoneNumber(secret.unseal(sealed).decode())
        raise Unavailable("This node lacks the pepper of this phone number.")

    def hash_code(self, challenge: UUID, purpose: str, code: str) -> bytes:
        """The stored hash of a one-time code: bound to its challenge and purpose."""
        return self.keyed_hash(_CODE, _code(challenge, purpose, code))

    def guess_hashes(self, challenge: UUID, purpose: str, code: str) -> tuple[bytes, bytes]:
        """The hashes of a code under the two newest peppers: a code is valid for three minutes, and nodes switch peppers within seconds."""
        self._secret(None)
        newest = [secret.mac(_CODE, _code(challenge, purpose, code)) for secret in islice(self._keys.values(), 2)]
        return newest[0], newest[-1]

    def keyed_hash(self, label: bytes, message: bytes, pepper_id: int | None = None) -> bytes:
        """A keyed hash of 32 bytes for the use `label`, under the current pepper or `pepper_id`."""
        return self._secret(pepper_id).mac(label, message)

    def keyed_hashes(self, label: bytes, message: bytes) -> Mapping[int, bytes]:
        """The same under every pepper, by pepper id, for look-ups."""
        self._secret(None)
        return {pepper_id: secret.mac(label, message) for pepper_id, secret in self._keys.items()}

    def _secret(self, pepper_id: int | None) -> _Secret:
        found = self._keys.get(self._in_use if pepper_id is None else pepper_id)
        if found is None:
            raise Unavailable("This node lacks a pepper that the installation uses.")
        return found


def fingerprint(secret: bytes) -> str:
    """Identifies a pepper, so nodes can compare theirs. It reveals nothing else: a pepper cannot be guessed."""
    return hmac.digest(secret, b"vyry pepper fingerprint 1", "sha256").hex()


def _code(challenge: UUID, purpose: str, code: str) -> bytes:
    return challenge.bytes + purpose.encode() + b"\0" + code.encode()
