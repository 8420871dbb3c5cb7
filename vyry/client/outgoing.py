"""Ids for idempotent sends."""

from vyry.kernel.ids import new_id


__all__ = [
    "new_id",
]
