"""How long a socket may take for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketTimeouts:
    """The patience of a node with its sockets, in seconds (docs/protocol.md, "WebSocket"); tests are in more of a hurry."""

    hello: float = 10.0
    #: After so much silence the node pings, and after that much it closes.
    ping_after: float = 20.0
    close_after: float = 30.0
    #: How often silence and ends of tokens are looked at.
    check_interval: float = 1.0
    #: A socket that takes nothing for so long is cut off.
    slow_reader: float = 10.0
    #: Hints may be lost: every mailbox held here is looked at this often anyway, give or take a fifth.
    catch_up_interval: float = 5.0
    #: Over so much time clients are asked to spread their coming back.
    reconnect_spread: float = 10.0


SOCKET_TIMEOUTS = SocketTimeouts()
