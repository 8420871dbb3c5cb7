"""What lies about devices share: a device of the attacker's beside those that are there, in lists and claims, and taken out of posts before the node sees them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID, uuid4

from tests.hostile_node.lie import Lie
from tests.hostile_node.mallory import AttackerDevice
from tests.hostile_node.wire import Body, Request, Response
from vyry.signal_protocol.primitives import Address


if TYPE_CHECKING:
    from tests.hostile_node.proxy import Proxy

GHOST_DEVICE = 2


class GhostLie(Lie):
    """A device of the attacker's at an address; once the client did not name it in a post to that person, it is told so as a node tells."""

    #: Whether its line in the list is that of a true device under another number, which verifies as far as it goes.
    is_copied: ClassVar[bool] = True
    #: Whether the node knows the account: else all of its claims are answered here.
    has_account: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.face: AttackerDevice | None = None
        self._was_missed = False

    @property
    def ghost(self) -> AttackerDevice:
        """The attacker's device."""
        assert self.face is not None
        return self.face

    @property
    def user_id(self) -> str:
        """Whose device it is said to be."""
        return str(self.ghost.own.address.user_id)

    @property
    def device_id(self) -> int:
        """Under which number."""
        return self.ghost.own.address.device_id

    def list_row(self, devices: list[Body]) -> Body:
        """Its line in the list of those devices."""
        if self.is_copied and devices:
            return {**devices[0], "deviceId": self.device_id, "registrationId": self.ghost.own.registration_id}
        return self.ghost.listed()

    async def request(self, proxy: "Proxy", request: Request) -> Request | Response:
        """Claims of it are answered here, copies for it go no further."""
        if request.matches("POST", f"/keys/{self.user_id}/claim"):
            return self._claimed(request)
        if request.matches("POST", "/messages") and request.body is not None:
            return self._posted(request)
        return request

    async def answer(self, proxy: "Proxy", request: Request, answer: Response) -> Response:
        """It stands in the list, and in claims of all devices."""
        body = answer.body
        if answer.status != 200 or body is None:
            return answer
        if request.matches("GET", f"/keys/{self.user_id}"):
            self.was_seen = True
            devices = [*body["devices"], self.list_row(body["devices"])]
            return answer.with_body({**body, "epoch": body["epoch"] + 1, "devices": devices})
        if request.matches("POST", f"/keys/{self.user_id}/claim") and "X-Ghost" in request.headers:
            return answer.with_body({**body, "bundles": [*body["bundles"], self.ghost.bundle()]})
        return answer

    def _claimed(self, request: Request) -> Request | Response:
        wanted = (request.body or {}).get("deviceIds")
        if wanted is not None and self.device_id not in wanted:
            return request
        self.was_seen = True
        marked = Request(**{**_fields(request), "headers": {**request.headers, "X-Ghost": "1"}})
        others = None if wanted is None else [each for each in wanted if each != self.device_id]
        if others == [] or not self.has_account:
            return Response.from_body(200, {"epoch": 1, "bundles": [self.ghost.bundle()]})
        return marked if others is None else marked.with_body({"deviceIds": others})

    def _posted(self, request: Request) -> Request | Response:
        assert request.body is not None
        address = self.ghost.own.address
        is_named = any(address in addresses_of(person) for person in request.body["recipients"])
        is_person_named = any(person["userId"] == self.user_id for person in request.body["recipients"])
        if is_named:
            return forward_post(request, without_copies_for(request.body, address))
        if is_person_named and not self._was_missed:
            self._was_missed = True
            return missing_device_answer(self.ghost)
        return request


def addresses_of(person: Body) -> list[Address]:
    """The devices named of a recipient."""
    return [Address(UUID(person["userId"]), device["deviceId"]) for device in person["devices"]]


def without_copies_for(post: Body, address: Address) -> Body:
    """A post without the copies for that device."""
    recipients = []
    for person in post["recipients"]:
        named = zip(addresses_of(person), person["devices"], strict=True)
        devices = [device for where, device in named if where != address]
        recipients += [{**person, "devices": devices}] if devices else []
    return {**post, "recipients": recipients}


def forward_post(request: Request, post: Body) -> Request | Response:
    """That post to the node; one for nobody is swallowed."""
    return request.with_body(post) if post["recipients"] else accepted_answer(post)


def accepted_answer(post: Body) -> Response:
    """As a node that keeps nothing says it has kept it."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {"messageId": post["messageId"], "acceptedAt": at, "copies": 1, "isRepeat": False, "skipped": []}
    return Response.from_body(200, said)


def missing_device_answer(face: AttackerDevice) -> Response:
    """As a node says that this device has to be named, too."""
    address = face.own.address
    named = {"userId": str(address.user_id), "deviceId": address.device_id, "registrationId": face.own.registration_id}
    return stale_devices_answer(missing=[named])


def stale_devices_answer(**differences: list[Body]) -> Response:
    """STALE_DEVICES."""
    nothing: Body = {"missing": [], "extra": [], "stale": [], "epochs": {}, "conversationVersion": 1}
    return Response.refusal(409, "STALE_DEVICES", **{**nothing, **differences})


def new_device(device_id: int) -> Body:
    """A line of GET /devices."""
    today = datetime.now(UTC)
    at = today.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    kind = {"name": "laptop", "platform": "desktop", "kind": "linked"}
    return {"deviceId": device_id, **kind, "linkedAt": at, "lastSeenOn": today.date().isoformat(), "isCurrent": False}


def fresh_id() -> str:
    """An id of nothing."""
    return str(uuid4())


def _fields(request: Request) -> Body:
    return {name: getattr(request, name) for name in ("method", "path", "query", "headers", "raw", "body")}
