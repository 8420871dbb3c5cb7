"""The keys that sign access tokens: JWT_SECRET, and the keys that an operator added later.

The header of a token identifies its key. It is compared byte by byte with the headers that this node would write; any other header is refused unparsed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

import jwt

from vyry.clock import Clock


ALGORITHM: Final = "HS256"
TYPE: Final = "at+jwt"
#: The id of JWT_SECRET: the header of its tokens has no `kid`.
FIRST_KEY: Final = ""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of the key ring. All nodes load it well before `signs_from`; from `good_until` on its signatures are invalid."""

    key_id: str
    secret: bytes = field(repr=False)
    signs_from: datetime
    good_until: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether its signatures are still valid."""
        return self.good_until is None or now < self.good_until

    @classmethod
    def first(cls, secret: bytes) -> Self:
        """JWT_SECRET as the oldest key."""
        return cls(FIRST_KEY, secret, datetime.min.replace(tzinfo=UTC))

    @property
    def header(self) -> dict[str, object]:
        """The header of its tokens."""
        header: dict[str, object] = {"typ": TYPE, "alg": ALGORITHM}
        return header | {"kid": self.key_id} if self.key_id else header


class KeyRing:
    """The keys of a node, in memory."""

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._by_header: dict[str, SigningKey] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """Replace all keys; at least one is required."""
        self._keys = {key.key_id: key for key in keys}
        self._by_header = {
            jwt.encode({}, key.secret, ALGORITHM, key.header).partition(".")[0]: key for key in self._keys.values()
        }

    def current_key(self) -> SigningKey:
        """The key to sign with: the newest one that may sign already."""
        now = self._clock.now()
        good = [key for key in self._keys.values() if key.is_good(now)] or list(self._keys.values())
        active = [key for key in good if key.signs_from <= now]
        return max(active, key=_age) if active else min(good, key=_age)

    def find_by_header(self, header: str) -> SigningKey | None:
        """The key whose tokens have exactly this encoded header; None if it is unknown or no longer valid."""
        key = self._by_header.get(header)
        return key if key is not None and key.is_good(self._clock.now()) else None

    def is_valid(self, key_id: str) -> bool:
        """Whether the signatures of this key are still valid."""
        key = self._keys.get(key_id)
        return key is not None and key.is_good(self._clock.now())


def _age(key: SigningKey) -> datetime:
    return key.signs_from
