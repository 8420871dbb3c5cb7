"""Ids for idempotent sends."""

from vyry.client.store.outgoing import (
    new_id,
)


__all__ = [
    "new_id",
]
