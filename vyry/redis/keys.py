"""The names of rate limits in Redis."""

from hashlib import blake2b


class RedisLimitKeys:
    """Makes the key of a quota and its subject.

    A subject (phone number, address, account) appears only as a keyed hash, so that a reader of Redis cannot find it by trying all values.
    """

    def __init__(self, secret: bytes = b"", prefix: str = "vyry") -> None:
        # Derived, so that this use of the secret is independent of its other uses.
        self._secret = blake2b(secret, digest_size=32, person=b"vyry limits").digest()
        self._prefix = prefix

    def key(self, quota: str, subject: str, number: int = 0) -> str:
        """The key of one window. All windows of a quota and subject share one slot of a Redis cluster."""
        name = blake2b(subject.encode(), key=self._secret, digest_size=16).hexdigest()
        return f"{self._prefix}:limit:{{{quota}:{name}}}:{number}"
