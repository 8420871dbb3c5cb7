"""The two files of an operator's secrets that can be more than one: the peppers, and the keys that sign access tokens.

They are replaced whole or not at all (0600). What a file holds is read strictly: a ring that is half understood would lose people or let them in.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from vyry.accounts.phone import FIRST_PEPPER
from vyry.accounts.signing import FIRST_KEY, SigningKey
from vyry.kernel.atomic_files import replace_file
from vyry.kernel.time import to_optional_text


_RING_OF_PEPPERS: Final = b'{"peppers"'
_SHORTEST: Final = 32


class BadSecretFile(OSError):
    """A ring file cannot be understood; the text says which, and nothing that it holds."""


class _Pepper(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: int = Field(ge=1, lt=2**31)
    secret: str


class _Peppers(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    peppers: list[_Pepper] = Field(min_length=1)


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    id: str = Field(pattern="^[a-z0-9-]{0,40}$")
    #: Absent for JWT_SECRET, which stands in the environment.
    secret: str | None = None
    signs_from: AwareDatetime
    good_until: AwareDatetime | None = None


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    keys: list[_Key] = Field(min_length=1)


def read_peppers(content: bytes) -> dict[int, bytes]:
    """The peppers of a file by id; a file that holds one secret and nothing else is pepper 1. Raises BadRing."""
    if not content.startswith(_RING_OF_PEPPERS):
        return {FIRST_PEPPER: content}
    try:
        found = {each.id: _decode_secret(each.secret) for each in _Peppers.model_validate_json(content).peppers}
    except (ValidationError, ValueError):
        raise BadSecretFile("The pepper file is malformed: restore it from a backup.") from None
    return found


def write_peppers(path: Path, peppers_by_id: Mapping[int, bytes]) -> None:
    """Replace the pepper file."""
    peppers = [{"id": number, "secret": b64encode(secret).decode()} for number, secret in sorted(peppers_by_id.items())]
    replace_file(path, json.dumps({"peppers": peppers}).encode())


def read_signing_keys(path: Path, jwt_secret: bytes) -> list[SigningKey]:
    """The keys that sign access tokens: those of the file, or JWT_SECRET (`first`) alone where there is none. Raises BadRing."""
    if not path.exists():
        return [SigningKey.first(jwt_secret)]
    try:
        found = _Keys.model_validate_json(path.read_bytes()).keys
        return [_signing_key(each, jwt_secret) for each in found]
    except (ValidationError, ValueError):
        raise BadSecretFile(
            f"{path} is malformed: restore it from a backup, or remove it to sign with JWT_SECRET."
        ) from None


def write_signing_keys(path: Path, keys: Iterable[SigningKey]) -> None:
    """Replace the key ring; JWT_SECRET stands in it without its secret."""
    entries = [
        {
            "id": key.key_id,
            "secret": None if key.key_id == FIRST_KEY else b64encode(key.secret).decode(),
            "signs_from": key.signs_from.isoformat(),
            "good_until": to_optional_text(key.good_until),
        }
        for key in keys
    ]
    replace_file(path, json.dumps({"keys": entries}, indent=1).encode())


def _signing_key(entry: _Key, first: bytes) -> SigningKey:
    if (entry.id == FIRST_KEY) != (entry.secret is None):
        raise ValueError("JWT_SECRET alone has no secret here")
    secret = first if entry.secret is None else _decode_secret(entry.secret)
    return SigningKey(entry.id, secret, entry.signs_from, entry.good_until)


def _decode_secret(text: str) -> bytes:
    secret = b64decode(text, validate=True)
    if len(secret) < _SHORTEST:
        raise ValueError("too short to be a secret")
    return secret
