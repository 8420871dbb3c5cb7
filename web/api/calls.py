"""TURN servers for calls; the signals of a call go over sockets."""

from typing import Final

from aiohttp import web

from vyry.signals.calls import IceServer
from web.app_keys import CALLER, SERVICES
from web.bodies import json_response
from web.route import Route
from web.wire.shapes import WireModel


class RelayServer(WireModel):
    """A TURN server with credentials, in the form of RTCIceServer."""

    urls: tuple[str, ...]
    username: str
    credential: str


class Relays(WireModel):
    """The node's TURN servers; empty if the operator configured none."""

    ice_servers: list[RelayServer]

    @classmethod
    def from_domain(cls, servers: list[IceServer]) -> "Relays":
        """The shape of this domain value."""
        return cls(
            ice_servers=[
                RelayServer(urls=each.urls, username=each.username, credential=each.credential) for each in servers
            ]
        )


async def list_relays(request: web.Request) -> web.Response:
    """GET /calls/relays."""
    services = request.app[SERVICES]
    return json_response(
        Relays.from_domain(services.signals.turn.ice_servers(request[CALLER].user_id, services.clock.now()))
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/calls/relays",
        operation="calls.relays",
        handler=list_relays,
        summary="The node's TURN servers, with short-lived credentials",
        responses={200: Relays},
    ),
)
