"""Lies about who is in a conversation, and key material from who is not."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.hostile_node.ghosts import GhostLie
from tests.hostile_node.lie import Lie
from tests.hostile_node.mallory import make_content
from tests.hostile_node.wire import Body, Request, Response
from tests.support.device_keys import base64_text
from vyry.signal_protocol.blobs import BlobKind, seal_blob


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy


class GhostMember(GhostLie):
    """One member more in a direct conversation, the attacker under their own name."""

    name = "ghost-member-direct"
    detected_by = ("conversationForged",)
    has_account = False

    def __init__(self) -> None:
        super().__init__()
        self.conversation_id = ""

    async def begin(self, proxy: "Proxy") -> None:
        """The node says that the conversation is another one now."""
        self.conversation_id = self._chosen(proxy)
        self.face = proxy.mallory.device_at()
        version = proxy.known.conversations[self.conversation_id]["version"] + 1
        await proxy.insert(proxy.notice("conversationChanged", conversationId=self.conversation_id, version=version))

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """The attacker has a list of devices, though no account; the node is not told the version that it never had."""
        if request.matches("GET", f"/keys/{self.user_id}"):
            self.was_seen = True
            key = base64_text(self.ghost.own.identity.public)
            listed = {"userId": self.user_id, "identityKey": key, "suite": "vyry", "epoch": 1}
            return Response.from_body(200, {**listed, "devices": [self.ghost.listed()]})
        if request.matches("GET", f"/users/{self.user_id}"):
            return Response.refusal(404, "NOT_FOUND")
        if request.matches("POST", "/messages") and request.body is not None:
            request = self._without_version(request)
        return await super().request(proxy, request)

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """The attacker is a member wherever the conversation is shown."""
        if answer.body is None or answer.status not in (200, 201):
            return answer
        if answer.body.get("conversationId") == self.conversation_id and "members" in answer.body:
            return answer.with_body(self.forged(answer.body))
        if "conversations" in answer.body:
            told = [self.forged(each) for each in answer.body["conversations"]]
            return answer.with_body({**answer.body, "conversations": told})
        return answer

    def forged(self, said: Body) -> Body:
        """The conversation as the client is shown it."""
        if said["conversationId"] != self.conversation_id:
            return said
        self.was_seen = True
        row = {"userId": self.user_id, "role": "member", "joinedAt": said["createdAt"]}
        return {**said, "members": [*said["members"], row], "version": said["version"] + 1}

    def _chosen(self, proxy: "Proxy") -> str:
        return proxy.known.direct

    def _without_version(self, request: Request) -> Request:
        assert request.body is not None
        if request.body["conversationId"] != self.conversation_id:
            return request
        return request.with_body({name: value for name, value in request.body.items() if name != "conversationVersion"})


class GhostMemberGroup(GhostMember):
    """One member more in a group. Rosters will refuse it; until then it is told before anything is sealed for them."""

    name = "ghost-member-group"
    detected_by = ("memberAdded",)
    required_state = ("group",)

    def _chosen(self, proxy: "Proxy") -> str:
        return proxy.known.group


class DirectBecomesGroup(GhostMember):
    """A direct conversation is a group from now on, with the attacker in it."""

    name = "direct-becomes-group"

    def forged(self, said: Body) -> Body:
        """Of another kind."""
        told = super().forged(said)
        return told if told is said else {**told, "kind": "group"}


class KeyOfAnOutsider(Lie):
    """The attacker, who is not in the group, tells a sender key for it and says something under it."""

    name = "sender-key-by-outsider"
    detected_by = ("memberForged",)
    required_state = ("group",)
    text = "words of an outsider"

    async def begin(self, proxy: "Proxy") -> None:
        """A session of their own, in the name of the group."""
        face, group, victim = proxy.mallory.device_at(), UUID(proxy.known.group), proxy.known.address
        face.begin_session(victim, proxy.known.upload)
        self.was_seen = True
        for plaintext, content in self.contents(proxy):
            sealed = face.seal(victim, plaintext) if plaintext is not None else content
            await proxy.insert(proxy.envelope(face.own.address, group, sealed, "control" if plaintext else "mail"))

    def contents(self, proxy: "Proxy") -> list[tuple[bytes | None, bytes]]:
        """What is sealed for the victim, or is sealed already."""
        group = UUID(proxy.known.group)
        key = proxy.mallory.device_at().sender_key(group)
        _, words = key.seal(make_content("text", group, {"text": self.text}))
        return [(make_content("senderKey", group, key.distribution().fields()), b""), (None, words)]


class GroupKeyOfAnOutsider(KeyOfAnOutsider):
    """The attacker, who is not in the group, tells a key of its title, and the node shows a title sealed under that."""

    name = "group-key-by-outsider"
    title = "Board - pay to account 666"

    def __init__(self) -> None:
        super().__init__()
        self._key = bytes(32)

    def contents(self, proxy: "Proxy") -> list[tuple[bytes | None, bytes]]:
        """One key."""
        group = UUID(proxy.known.group)
        self._key = proxy.random.randbytes(32)
        fields: dict[str, Any] = {"groupKey": base64_text(self._key), "generation": 0}
        return [(make_content("groupKey", group, fields), b"")]

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """The title of the attacker."""
        body = answer.body
        if body is None or answer.status != 200 or body.get("conversationId") != proxy.known.group:
            return answer
        sealed = seal_blob(self._key, BlobKind.GROUP_INFO, {"title": self.title})
        return answer.with_body({**body, "sealedInfo": base64_text(sealed)})
