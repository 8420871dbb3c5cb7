"""The entry point of the SDK: `Client.open(Profile(...))`."""

from vyry.client.api.client import (
    Client,
    Profile,
    Waits,
)


__all__ = [
    "Client",
    "Profile",
    "Waits",
]
