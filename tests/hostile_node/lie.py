"""What a lie is: a small object with hooks on everything that passes. Without any hook a proxy passes on what comes, bit for bit."""

from typing import TYPE_CHECKING, ClassVar

from tests.hostile_node.mailbox import Entries
from tests.hostile_node.wire import Body, Request, Response


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy


class Lie:
    """One way in which a node can lie. `tells` names the events and errors of the client that may end it, one is enough; "nothing": nothing has to change for the client at all."""

    name: ClassVar[str]
    detected_by: ClassVar[tuple[str, ...]]
    #: What the proxy has to know before it can begin: a "direct" conversation, a "group".
    required_state: ClassVar[tuple[str, ...]] = ("direct",)

    def __init__(self) -> None:
        #: Whether the client has seen it.
        self.was_seen = False

    async def begin(self, proxy: "Proxy") -> None:
        """It is switched on; the proxy knows its victim."""

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """What goes to the node instead, or what it seems to answer."""
        return request

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """What the node seems to answer."""
        return answer

    def entries(self, proxy: "Proxy", entry: Body) -> Entries:
        """What is put into the mailbox for this entry of the node's."""
        return [entry]

    def frame(self, proxy: "Proxy", frame: Body) -> Body:
        """What the node seems to say on the socket; never entries."""
        return frame

    @classmethod
    def summary(cls) -> str:
        """Its first line of documentation."""
        return (cls.__doc__ or "").splitlines()[0]
