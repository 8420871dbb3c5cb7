"""The keys that sign access tokens: JWT_SECRET first, then those that an operator added since.

A token names its key by its header, and that header is compared as a whole, byte for byte, with those that this node itself would write: whatever else
a header may say is refused before any of it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

import jwt

from vyry.clock import Clock


ALGORITHM: Final = "HS256"
TYPE: Final = "at+jwt"
#: JWT_SECRET has no name: the header of its tokens has no `kid`.
FIRST_KEY: Final = ""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of the ring. All nodes know it well before `signs_from`; from `good_until` on nothing it signed is good."""

    key_id: str
    secret: bytes = field(repr=False)
    signs_from: datetime
    good_until: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether what it signed may still be good."""
        return self.good_until is None or now < self.good_until

    @classmethod
    def first(cls, secret: bytes) -> Self:
        """JWT_SECRET, which was there before all others."""
        return cls(FIRST_KEY, secret, datetime.min.replace(tzinfo=UTC))

    @property
    def header(self) -> dict[str, object]:
        """What the header of its tokens says, and nothing else."""
        said: dict[str, object] = {"typ": TYPE, "alg": ALGORITHM}
        return said | {"kid": self.key_id} if self.key_id else said


class KeyRing:
    """The keys a node knows, in memory."""

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._by_header: dict[str, SigningKey] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """From now on these are the keys; at least one."""
        self._keys = {key.key_id: key for key in keys}
        self._by_header = {
            jwt.encode({}, key.secret, ALGORITHM, key.header).partition(".")[0]: key for key in self._keys.values()
        }

    def current_key(self) -> SigningKey:
        """The key to sign with: the newest whose time has come."""
        now = self._clock.now()
        good = [key for key in self._keys.values() if key.is_good(now)] or list(self._keys.values())
        active = [key for key in good if key.signs_from <= now]
        return max(active, key=_age) if active else min(good, key=_age)

    def find_by_header(self, header: str) -> SigningKey | None:
        """The key of a token with exactly this header, as it stands in the token, unless its time is over."""
        key = self._by_header.get(header)
        return key if key is not None and key.is_good(self._clock.now()) else None

    def is_valid(self, key_id: str) -> bool:
        """Whether what this key signed is still good."""
        key = self._keys.get(key_id)
        return key is not None and key.is_good(self._clock.now())


def _age(key: SigningKey) -> datetime:
    return key.signs_from
