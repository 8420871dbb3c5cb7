"""Lies switched from outside, for a client that runs in another process: `/hostile` beside the routes of the node.

GET /hostile            what is on, what the client has seen of it, and which texts the attacker has opened
PUT /hostile/NAME       lie in this way from now on; DELETE ends it
"""

from typing import TYPE_CHECKING, Final

from aiohttp import web

from tests.hostile_node.catalogue import LIES
from tests.hostile_node.wire import Response


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy

PREFIX: Final = "/hostile"


class ControlApi:
    """What was asked for, and not begun while there was nobody to lie about."""

    def __init__(self, proxy: "Proxy") -> None:
        self._proxy = proxy
        self.wanted: list[str] = []

    async def begin_pending(self) -> None:
        """Begin what waits, once the client is greeted and knows somebody."""
        known = self._proxy.known
        if known.victim is None or self._proxy.mailbox.mailbox_id is None:
            return
        ready = [name for name in self.wanted if all(getattr(known, need) for need in LIES[name].required_state)]
        self.wanted = [name for name in self.wanted if name not in ready]
        for name in ready:
            await self._proxy.begin(LIES[name]())

    async def handle_request(self, request: web.Request) -> web.Response:
        """See above."""
        name = request.path.removeprefix(PREFIX).strip("/")
        if name and name not in LIES:
            return _response(Response.refusal(404, "NOT_FOUND"))
        if request.method == "PUT":
            self.wanted.append(name)
            await self.begin_pending()
        elif request.method == "DELETE":
            for lie in [each for each in self._proxy.lies if each.name == name]:
                self._proxy.end(lie)
        return _response(Response.from_body(200, self._told()))

    def _told(self) -> dict[str, object]:
        opened = [each.plaintext.decode(errors="replace") for each in self._proxy.mallory.opened]
        lies = [{"name": each.name, "wasSeen": each.was_seen, "tells": each.detected_by} for each in self._proxy.lies]
        return {"lies": lies, "waiting": self.wanted, "posted": len(self._proxy.mallory.posted), "opened": opened}


def _response(answer: Response) -> web.Response:
    return web.Response(status=answer.status, body=answer.raw, headers=dict(answer.headers))
