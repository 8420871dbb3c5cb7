"""The devices of a load on an XMPP server.

Stream management (XEP-0198) counts stanzas both ways, so `accepted` and the acknowledgement of a receiver mean what they mean in Vyry.
The id of a message is the id of its stanza.
"""

import asyncio
import base64
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from xml.parsers import expat

from bench.load import CONTENT_BYTES, LoadError, Outcomes, Pair


SECONDS: Final = 60.0
_MANAGEMENT: Final = "urn:xmpp:sm:3"
_HEADER: Final = (
    "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_COUNTED: Final = frozenset({"message", "presence", "iq"})
OnMessage = Callable[[str], None]


class XmppStream(asyncio.Protocol):
    """One logged-in device."""

    def __init__(self, on_message: OnMessage, on_accepted: OnMessage) -> None:
        self._on_message = on_message
        self._on_accepted = on_accepted
        self._depth = 0
        self._received = 0
        self._accepted = 0
        self._is_managed = False
        self._posted: deque[str] = deque()
        #: The top-level elements that log-in waits for.
        self._elements: asyncio.Queue[str] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None
        self._restart()

    async def log_in(self, user: str, *, is_new: bool) -> None:
        """Register if new, log in, enable stream management. Raises LoadError when the server refuses."""
        await self._ask(_HEADER, "features")
        if is_new:
            query = f"<query xmlns='jabber:iq:register'><username>{user}</username><password>pw</password></query>"
            await self._ask(f"<iq type='set' id='register'>{query}</iq>", "iq")
        proof = base64.b64encode(f"\0{user}\0pw".encode()).decode()
        await self._ask(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>", "success")
        self._restart()
        await self._ask(_HEADER, "features")
        for feature in ("bind", "session"):
            await self._ask(
                f"<iq type='set' id='{feature}'><{feature} xmlns='urn:ietf:params:xml:ns:xmpp-{feature}'/></iq>", "iq"
            )
        await self._ask(f"<enable xmlns='{_MANAGEMENT}'/>", "enabled")
        self._is_managed = True

    def become_available(self) -> None:
        """Take messages, those that wait among them."""
        self._write("<presence/>")

    def post(self, receiver: str, message_id: str, content: str) -> None:
        """Send a message and ask whether it was taken."""
        self._posted.append(message_id)
        body = f"<body>{content}</body>"
        self._write(
            f"<message type='chat' to='{receiver}@localhost' id='{message_id}'>{body}</message><r xmlns='{_MANAGEMENT}'/>"
        )

    def leave(self) -> None:
        """Acknowledge the received stanzas and close the stream."""
        self._acknowledge()
        self._write("<presence type='unavailable'/></stream:stream>")

    def abort(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read the elements of the stream."""
        self._parser.Parse(data)

    async def _ask(self, text: str, wanted: str) -> None:
        self._write(text)
        async with asyncio.timeout(SECONDS):
            if (element := await self._elements.get()) != wanted:
                raise LoadError(f"the XMPP server answered <{element}>, not <{wanted}>")

    def _restart(self) -> None:
        """A new stream is a new document."""
        self._depth = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._on_start
        self._parser.EndElementHandler = self._on_end

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth != 2:
            return
        element = name.rpartition(" ")[2]
        if not self._is_managed:
            if attributes.get("type") == "error":
                element = "error"
        elif element in _COUNTED:
            self._received += 1
            if element == "message":
                self._on_message(attributes["id"])
        elif element == "r":
            self._acknowledge()
        elif element == "a":
            self._count_accepted(int(attributes["h"]))

    def _on_end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 1 and not self._is_managed:
            self._elements.put_nowait(name.rpartition(" ")[2])

    def _count_accepted(self, count: int) -> None:
        # Presence is counted, too, but only receivers send it, and they post nothing.
        while self._accepted < count and self._posted:
            self._accepted += 1
            self._on_accepted(self._posted.popleft())

    def _acknowledge(self) -> None:
        self._write(f"<a xmlns='{_MANAGEMENT}' h='{self._received}'/>")

    def _write(self, text: str) -> None:
        if self._transport is not None:
            self._transport.write(text.encode())


class XmppClient:
    """All devices of the pairs; the user id of a member is its user name."""

    def __init__(self, outcomes: Outcomes, pairs: Sequence[Pair], port: int) -> None:
        self._outcomes = outcomes
        self._port = port
        self._content = base64.b64encode(secrets.token_bytes(CONTENT_BYTES)).decode()
        self._senders = {pair.sender.user_id for pair in pairs}
        self._receivers = {pair.receiver.user_id for pair in pairs}
        self._streams: dict[str, XmppStream] = {}
        self._known: set[str] = set()

    async def connect(self, *, receivers: bool) -> None:
        """Log in, with in-band registration the first time."""
        wanted = self._senders | (self._receivers if receivers else set())
        await asyncio.gather(*(self._log_in(user) for user in wanted - set(self._streams)))

    def post(self, pair: Pair, message_id: str) -> None:
        """Send one message."""
        self._streams[pair.sender.user_id].post(pair.receiver.user_id, message_id, self._content)

    async def disconnect(self) -> None:
        """Leave with everything acknowledged."""
        leaving, self._streams = list(self._streams.values()), {}
        for stream in leaving:
            stream.leave()
        await asyncio.sleep(0.3)
        for stream in leaving:
            stream.abort()

    async def _log_in(self, user: str) -> None:
        _, stream = await asyncio.get_running_loop().create_connection(
            lambda: XmppStream(self._outcomes.delivered, self._outcomes.accepted), "127.0.0.1", self._port
        )
        await stream.log_in(user, is_new=user not in self._known)
        self._known.add(user)
        self._streams[user] = stream
        if user in self._receivers:
            stream.become_available()
