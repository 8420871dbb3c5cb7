"""Shapes of calls."""

from vyry.signals.turn import IceServer
from web.wire.shapes import WireModel


class RelayServer(WireModel):
    """A TURN server and credentials for it, as RTCIceServer has them."""

    urls: tuple[str, ...]
    username: str
    credential: str


class Relays(WireModel):
    """The relays of the node; none where its operator runs none."""

    ice_servers: list[RelayServer]

    @classmethod
    def from_domain(cls, servers: list[IceServer]) -> "Relays":
        """As the wire has it."""
        return cls(
            ice_servers=[
                RelayServer(urls=each.urls, username=each.username, credential=each.credential) for each in servers
            ]
        )
