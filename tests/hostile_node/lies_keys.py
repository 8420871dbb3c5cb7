"""Lies about keys of a peer: swapped at once or after the first look, old bundles, old identities that come back."""

from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from tests.hostile_node.ghosts import accepted_answer
from tests.hostile_node.lie import Lie
from tests.hostile_node.mallory import AttackerDevice, make_content
from tests.hostile_node.wire import Body, Request, Response
from tests.support.device_keys import base64_text
from vyry.signal_protocol.primitives import Address


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy


class KeySwapped(Lie):
    """All keys of a peer are the attacker's from now on; what is sealed for those never comes to the peer."""

    name = "key-swapped"
    detected_by: ClassVar[tuple[str, ...]] = ("identityChanged",)
    #: How many looks at the list are still answered with the truth.
    true_looks: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.peer = ""
        self._looks = 0

    async def begin(self, proxy: "Proxy") -> None:
        """The node says that their devices are others now."""
        self.peer = proxy.known.peer
        changed = {"userId": self.peer, "epoch": 9, "identityChanged": True}
        if not self.true_looks:
            await proxy.insert(proxy.notice("devicesChanged", **changed))

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """Posts to the peer are kept; bundles are the attacker's."""
        if request.matches("POST", f"/keys/{self.peer}/claim") and self._looks >= self.true_looks:
            listed = proxy.known.lists.get(self.peer, {"devices": [{"deviceId": 1}]})
            numbers = (request.body or {}).get("deviceIds") or [each["deviceId"] for each in listed["devices"]]
            self.was_seen = True
            return Response.from_body(
                200, {"epoch": 9, "bundles": [self._face(proxy, each).bundle() for each in numbers]}
            )
        if request.matches("POST", "/messages") and request.body is not None and self._is_for_me(proxy, request.body):
            return accepted_answer(request.body)
        return request

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """So is the list."""
        body = answer.body
        if not request.matches("GET", f"/keys/{self.peer}") or answer.status != 200 or body is None:
            return answer
        self._looks += 1
        if self._looks <= self.true_looks:
            return answer
        self.was_seen = True
        faces = [self._face(proxy, each["deviceId"]) for each in body["devices"]]
        key = base64_text(faces[0].own.identity.public)
        return answer.with_body({**body, "identityKey": key, "epoch": 9, "devices": [face.listed() for face in faces]})

    def _face(self, proxy: "Proxy", device_id: int) -> AttackerDevice:
        return proxy.mallory.device_at(Address(UUID(self.peer), device_id))

    def _is_for_me(self, proxy: "Proxy", post: Body) -> bool:
        return any(
            device["registrationId"] == self._face(proxy, device["deviceId"]).own.registration_id
            for person in post["recipients"]
            if person["userId"] == self.peer
            for device in person["devices"]
        )


class KeySwappedLater(KeySwapped):
    """The first look at a peer's keys shows the true ones, each later look the attacker's: what is shown is not what is kept."""

    name = "key-swapped-later"
    detected_by = ("identityChanged", "NotCompared")
    true_looks = 1


class StaleBundle(Lie):
    """A claim is answered with a bundle of the peer that was given out, and used, before; garbage in the peer's name has the client claim."""

    name = "stale-bundle"
    detected_by = ("nothing", "unreadable")

    def __init__(self) -> None:
        super().__init__()
        self._old: Body = {}

    async def begin(self, proxy: "Proxy") -> None:
        """A client with a session claims nothing: two messages that it cannot read have it begin another one."""
        peer = proxy.known.peer
        claimed = proxy.known.claims.get(peer)
        self._old = claimed or await proxy.call("POST", f"/keys/{peer}/claim", {"deviceIds": [1]})
        for _ in range(2):
            noise = b"\1\2" + proxy.random.randbytes(130)
            await proxy.insert(proxy.envelope(proxy.known.peer_address(), proxy.known.direct, noise))

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """It gets the same as at the first time, each time."""
        if request.matches("POST", f"/keys/{proxy.known.peer}/claim"):
            self.was_seen = True
            return Response.from_body(200, self._old)
        return request


class OldSessionRevived(Lie):
    """Whoever held the key of a peer before it was changed writes once more in the old session."""

    name = "old-session-revived"
    detected_by = ("nothing", "unreadable", "identityChanged")
    text = "sealed by the one before"

    async def begin(self, proxy: "Proxy") -> None:
        """Late, as it were. Needs a session from a time when the keys were swapped."""
        face, where = proxy.mallory.device_at(proxy.known.peer_address()), UUID(proxy.known.direct)
        face.begin_session(proxy.known.address, proxy.known.upload)
        content = face.seal(proxy.known.address, make_content("text", where, {"text": self.text}))
        self.was_seen = True
        await proxy.insert(proxy.envelope(face.own.address, where, content))


class RetryAfterAccept(Lie):
    """Whoever has a peer's new key, accepted by the person, asks for what was sealed for the one before."""

    name = "retry-after-accept"
    detected_by = ("nothing", "identityChanged")

    async def begin(self, proxy: "Proxy") -> None:
        """For each message that was posted to the peer."""
        face, where = proxy.mallory.device_at(proxy.known.peer_address()), UUID(proxy.known.direct)
        opened = {each.message_id for each in proxy.mallory.opened}
        face.begin_session(proxy.known.address, proxy.known.upload)
        posted = [each for each in proxy.mallory.posted if each.recipient == face.own.address]
        for message_id in dict.fromkeys(each.message_id for each in posted if each.message_id not in opened):
            asked = make_content("retry", where, {"messageId": message_id, "reason": "BadMessage"})
            self.was_seen = True
            await proxy.insert(
                proxy.envelope(face.own.address, where, face.seal(proxy.known.address, asked), "control")
            )


class UsernameReassigned(Lie):
    """A username belongs to the attacker from now on."""

    name = "username-reassigned"
    detected_by = ("NameChanged",)

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """Whoever is asked for."""
        if not request.path.startswith("/users/by-username/") or answer.body is None or answer.status != 200:
            return answer
        self.was_seen = True
        return answer.with_body({**answer.body, "userId": str(proxy.mallory.user_id)})


class PinRefusedOnce(Lie):
    """The first approval of a link is refused for its PIN, and the settings told for the second differ: what is sealed twice shall not be sealed under one key and nonce."""

    name = "pin-refused-once"
    detected_by = ("nothing",)

    def __init__(self) -> None:
        super().__init__()
        self.provisionings: list[str] = []

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """The first one goes no further."""
        if not request.path.endswith("/approve") or request.body is None:
            return request
        self.was_seen = True
        self.provisionings.append(request.body["provisioning"])
        if len(self.provisionings) == 1:
            return Response.refusal(403, "INVALID_PIN", attempts_remaining=9)
        return request.with_body({name: value for name, value in request.body.items() if name != "pin"})

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """Settings of one block more or less."""
        if not request.matches("GET", "/account") or answer.body is None:
            return answer
        filler = "A" * 6000 if not self.provisionings else "A" * 5976 + "B" + "A" * 23
        return answer.with_body({**answer.body, "settings": {**answer.body["settings"], "x": filler}})
