"""What a node knows anyway about its victim: who it is, its token and public keys, its peers and conversations, and the mail that went through."""

from collections.abc import Mapping
from uuid import UUID

from tests.hostile_node.wire import Body, Request, Response
from vyry.signal_protocol.primitives import Address


class Victim:
    """Learned from what passes; a test may set `peer`, `direct` and `group` itself."""

    def __init__(self) -> None:
        self.victim: Address | None = None
        self.headers: Mapping[str, str] = {}
        #: The last key set that the victim published.
        self.upload: Body = {}
        self.peer: str = ""
        self.direct: str = ""
        self.group: str = ""
        #: As the node told them last.
        self.conversations: dict[str, Body] = {}
        self.lists: dict[str, Body] = {}
        #: The answer to the first claim of each account's bundles: what is in it was used.
        self.claims: dict[str, Body] = {}
        #: Envelopes as the node told them.
        self.envelopes: list[Body] = []

    @property
    def user_id(self) -> str:
        """The victim's user id."""
        assert self.victim is not None, "The victim has not connected yet."
        return str(self.victim.user_id)

    @property
    def address(self) -> Address:
        """The victim's device."""
        assert self.victim is not None, "The victim has not connected yet."
        return self.victim

    def peer_address(self, device_id: int = 1) -> Address:
        """A device of the peer."""
        return Address(UUID(self.peer), device_id)

    def note_request(self, request: Request) -> None:
        """The client asks this."""
        token = request.headers.get("Authorization")
        if token:
            self.headers = {"Authorization": token, "Content-Type": "application/json"}
        body = request.body or {}
        if request.matches("PUT", "/keys") or request.matches("POST", "/devices/links/complete"):
            self.upload = body
        elif request.matches("POST", "/keys/prekeys"):
            self.upload = {
                **self.upload,
                **{name: body[name] for name in ("signedPrekey", "pqLastResort") if name in body},
            }

    def note(self, request: Request, answer: Response) -> None:
        """And was answered this by the node."""
        body = answer.body
        if answer.status not in (200, 201) or body is None:
            return
        if body.get("accessToken") and body.get("userId"):
            self.victim = Address(UUID(body["userId"]), body["deviceId"])
        for conversation in body.get("conversations", [body] if "members" in body and "kind" in body else []):
            self.note_conversation(conversation)
        if request.method == "GET" and request.path.startswith("/keys/") and "devices" in body:
            self.lists[body["userId"]] = body
        if request.path.endswith("/claim") and body.get("bundles"):
            self.claims.setdefault(request.path.split("/")[2], body)

    def note_conversation(self, said: Body) -> None:
        """The node tells of a conversation: the newest of each kind is the one that lies are about."""
        name = said["conversationId"]
        self.conversations[name] = said
        if said["kind"] == "group":
            self.group = name
            return
        self.direct = name
        others = [each["userId"] for each in said["members"] if self.victim is None or each["userId"] != self.user_id]
        self.peer = others[0] if others else self.peer

    def note_welcome(self, payload: Body) -> None:
        """The node greets the victim."""
        self.victim = Address(UUID(payload["userId"]), payload["deviceId"])

    def note_entry(self, entry: Body) -> None:
        """The node told this entry."""
        if "content" in entry:
            self.envelopes.append(entry)
