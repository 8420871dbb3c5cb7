"""Sources of files to send."""

from vyry.client.api.files import (
    Stream,
)


__all__ = [
    "Stream",
]
