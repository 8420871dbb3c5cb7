"""Change the passphrase of a profile."""

from vyry.client.store.profile import (
    change_passphrase,
)


__all__ = [
    "change_passphrase",
]
