"""The settings of a listening node: its name, its stop, and the proxies in front of it."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings

from vyry.settings.types import Network, ProcessName, split_commas


class ServingSettings(BaseSettings):
    """How a node serves, stops, and learns the address of a client."""

    #: The name of this node in its log; without it the name of the host.
    node_name: ProcessName | None = None
    #: Processes of `vyry web` that share the port.
    processes: int = Field(1, ge=1, le=64)
    #: A planned stop ends the sockets of a web node one by one within this time.
    drain_seconds: float = Field(12.0, ge=0, le=600)
    #: Of one process, sockets included.
    max_connections: int = Field(22_000, ge=1)
    #: From one IPv4 address or IPv6 /64 that is not a trusted proxy; off with VYRY_LIMITS=off.
    max_connections_address: int = Field(500, ge=1)
    #: Of one process.
    max_sockets: int = Field(20_000, ge=1)
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(split_commas)] = ()
    #: Connections of those proxies begin with a PROXY header of version 2.
    proxy_protocol: Literal["off", "v2"] = "off"
    #: The header in which those proxies write the address of the client.
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"


def serving_conflicts(settings: ServingSettings) -> Iterator[str]:
    """A line for each of these settings that does not go with the others."""
    if settings.proxy_protocol != "off" and not settings.trusted_proxies:
        yield "VYRY_PROXY_PROTOCOL needs VYRY_TRUSTED_PROXIES: only these networks may name the address of a client."
