"""Lies about devices: one more than there are, or one less."""

from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from tests.hostile_node.ghosts import (
    GHOST_DEVICE,
    GhostLie,
    addresses_of,
    new_device,
)
from tests.hostile_node.lie import Lie
from tests.hostile_node.mallory import make_content
from tests.hostile_node.wire import Body, Request, Response
from tests.support.device_keys import base64_text
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.primitives import Address


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy


class OwnGhostDevice(GhostLie):
    """One device more of the client's own account, whose keys are under another identity; its line in the list is copied from a true one."""

    name = "own-ghost-device"
    detected_by = ("ownIdentityForged",)

    async def begin(self, proxy: "Proxy") -> None:
        """The node says that it was linked."""
        self.face = proxy.mallory.device_at(Address(proxy.known.address.user_id, GHOST_DEVICE))
        device = {"deviceId": GHOST_DEVICE, "deviceName": "laptop", "platform": "desktop"}
        await proxy.insert(proxy.notice("deviceLinked", **device))

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """It also stands among the devices that a person is shown."""
        if request.matches("GET", "/devices") and answer.status == 200 and answer.body is not None:
            devices = [*answer.body["devices"], new_device(GHOST_DEVICE)]
            return answer.with_body({**answer.body, "devices": devices})
        return await super().answer(proxy, request, answer)


class OwnGhostListed(OwnGhostDevice):
    """One device more of the client's own account in the list alone, its line signed by another identity; a claim of it finds nothing."""

    name = "own-ghost-listed"
    is_copied = False

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """There is no bundle of it."""
        changed = await super().request(proxy, request)
        is_claim = request.matches("POST", f"/keys/{self.user_id}/claim")
        return Response.refusal(404, "NOT_FOUND") if is_claim and isinstance(changed, Response) else changed


class OwnGhostSpeaks(OwnGhostDevice):
    """The ghost among the own devices sends a `sync` with words that the person never said."""

    name = "own-ghost-speaks"
    text = "I agree to everything."

    async def begin(self, proxy: "Proxy") -> None:
        """It begins a session, as a device of the account."""
        await super().begin(proxy)
        where = UUID(proxy.known.direct)
        words = Content("text", UUID(int=proxy.random.getrandbits(128)), 1_700_000_000_000, where, {"text": self.text})
        sent = {"sync": {"sent": {"v": 1, **_without_private_fields(words), "text": self.text}, "recipients": []}}
        self.ghost.begin_session(proxy.known.address, proxy.known.upload)
        content = self.ghost.seal(proxy.known.address, make_content("sync", where, sent))
        self.was_seen = True
        await proxy.insert(proxy.envelope(self.ghost.own.address, where, content))


class PeerGhostDevice(GhostLie):
    """One device more of a peer, whose bundle is under another identity; its line in the list is copied from a true one."""

    name = "peer-ghost-device"
    detected_by: ClassVar[tuple[str, ...]] = ("identityChanged", "deviceListDiffers")

    async def begin(self, proxy: "Proxy") -> None:
        """The node says that their devices are others now."""
        self.face = proxy.mallory.device_at(proxy.known.peer_address(GHOST_DEVICE))
        changed = {"userId": proxy.known.peer, "epoch": 9, "identityChanged": False}
        await proxy.insert(proxy.notice("devicesChanged", **changed))


class PeerGhostListed(PeerGhostDevice):
    """One device more of a peer, its line in the list signed by another identity than the one named beside it."""

    name = "peer-ghost-listed"
    is_copied = False


class PeerIdentityListed(PeerGhostDevice):
    """The list of a peer's devices names another identity key, and one device of it; the true ones are there no more."""

    name = "peer-identity-listed"

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """The whole list is the attacker's."""
        if request.matches("GET", f"/keys/{self.user_id}") and answer.status == 200 and answer.body is not None:
            self.was_seen = True
            key = base64_text(self.ghost.own.identity.public)
            return answer.with_body({**answer.body, "identityKey": key, "devices": [self.ghost.listed()]})
        return await super().answer(proxy, request, answer)


class HiddenDeviceLie(Lie):
    """A device is left out of the list; copies for it that were not sealed are filled in, so that the post passes."""

    name = "peer-device-hidden"
    detected_by: ClassVar[tuple[str, ...]] = ("deviceListDiffers",)
    device_id = 2

    def __init__(self) -> None:
        super().__init__()
        self.user_id = ""
        self._hidden: Body = {}

    async def begin(self, proxy: "Proxy") -> None:
        """The node says that their devices are others now."""
        self.user_id = proxy.known.peer
        changed = {"userId": self.user_id, "epoch": 9, "identityChanged": False}
        await proxy.insert(proxy.notice("devicesChanged", **changed))

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """The node itself wants a copy for it: that of another device, which it cannot open."""
        if not request.matches("POST", "/messages") or request.body is None or not self._hidden:
            return request
        hidden = Address(UUID(self.user_id), self.device_id)
        people = [self._filled(person, hidden) for person in request.body["recipients"]]
        if self.user_id == proxy.known.user_id and all(person["userId"] != self.user_id for person in people):
            filler = {"content": base64_text(b"\1\2" + bytes(80)), "kind": 2}
            people.append({"userId": self.user_id, "epoch": 1, "devices": [{**self._named(), **filler}]})
        return request.with_body({**request.body, "recipients": people})

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """It stands in no list, and a claim gives no keys of it."""
        body = answer.body
        if (
            answer.status != 200
            or body is None
            or request.path
            not in (
                f"/keys/{self.user_id}",
                f"/keys/{self.user_id}/claim",
                "/devices",
            )
        ):
            return answer
        name = "bundles" if request.path.endswith("/claim") else "devices"
        for each in body[name]:
            if each["deviceId"] == self.device_id and "registrationId" in each:
                self.was_seen, self._hidden = True, each
        return answer.with_body({**body, name: [each for each in body[name] if each["deviceId"] != self.device_id]})

    def _filled(self, person: Body, hidden: Address) -> Body:
        if person["userId"] != self.user_id or hidden in addresses_of(person):
            return person
        return {**person, "devices": [*person["devices"], {**person["devices"][0], **self._named()}]}

    def _named(self) -> Body:
        return {"deviceId": self.device_id, "registrationId": self._hidden["registrationId"]}


class OwnDeviceHidden(HiddenDeviceLie):
    """Another device of the client's own account is left out of the list."""

    name = "own-device-hidden"
    detected_by = ("deviceListDiffers", "ownIdentityForged")

    async def begin(self, proxy: "Proxy") -> None:
        """The node says that a device was linked, so that the list is asked for again."""
        self.user_id = proxy.known.user_id
        self.device_id = 2 if proxy.known.address.device_id == 1 else 1
        device = {"deviceId": 9, "deviceName": "laptop", "platform": "desktop"}
        await proxy.insert(proxy.notice("deviceLinked", **device))


def _without_private_fields(content: Content) -> Body:
    return {
        "kind": content.kind,
        "id": str(content.id),
        "at": content.at,
        "conversationId": str(content.conversation_id),
    }
