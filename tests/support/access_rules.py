"""Who may reach what: every place where a route takes the name of an object, and the response when the object is not the caller's.

tests/integration/test_access_matrix.py compares `PLACES` with the route table: a route that takes a new object id fails there until `PLACES` lists it.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from tests.support.device_keys import base64_text
from web.api.attachments import MEDIA_TYPE
from web.route import Route


#: Fields that name something: an object, or a secret that stands for one.
_NAMES = re.compile(r"(Id|Ids|Token|ticket|cursor|username)$")


@dataclass(frozen=True, slots=True)
class ObjectIds:
    """What there is: ids by the words that `Hidden.foreign` names them with; `own` are the caller's, `invented` names nothing."""

    foreign: Mapping[str, Any]
    own: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HiddenObject:
    """Naming an object of others is refused exactly as naming one that does not exist.

    `foreign` says which objects of the world are tried, `invented` what names nothing; `body` makes the body and `headers` are what is good but for the name.
    """

    status: int
    code: str
    foreign: tuple[str, ...]
    body: Callable[[ObjectIds, Any], Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    invented: Any = "0198c2d4-7a00-7000-8000-000000000000"
    #: Other names of the path, by the words that the world names the caller's own with.
    own: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExemptParameter:
    """The name gives nobody away, for this reason."""

    reason: str


ParameterKey = tuple[str, str]
AccessRule = HiddenObject | ExemptParameter


def route_parameters(routes: tuple[Route, ...]) -> Iterator[ParameterKey]:
    """Every place of these routes where something is named: (METHOD path, name)."""
    for route in routes:
        found = dict.fromkeys(re.findall(r"\{(\w+)\}", route.path))
        for shape in filter(None, (route.body, route.query)):
            found |= dict.fromkeys(_named_fields(shape))
        yield from ((route_key(route), name) for name in found)


def route_key(route: Route) -> str:
    """The route as `PLACES` calls it."""
    return f"{route.method} {route.path.removeprefix('/api/v1')}"


def _named_fields(shape: type[BaseModel]) -> Iterator[str]:
    """The fields of a shape, at any depth, that name something."""
    schema = shape.model_json_schema(by_alias=True)
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from (name for name in part.get("properties", {}) if _NAMES.search(name))


def _post(world: ObjectIds, conversation: str | None = None, user: str | None = None, device: int | None = None) -> Any:
    copy = {"deviceId": device or 1, "registrationId": 77, "content": base64_text(b"x")}
    return {
        "messageId": str(uuid.uuid4()),
        "conversationId": conversation or world.own["conversation"],
        "recipients": [{"userId": user or world.own["friend"], "epoch": 1, "devices": [copy]}],
    }


_NEW_ID: Final = ExemptParameter("made by the client, for itself alone")
_OWN_DEVICE: Final = ExemptParameter("a number of the caller's own key set")
_CAPABILITY: Final = ExemptParameter("a random secret, which is all the right there is")
_FOREIGN: Final = ("conversation", "group")
_OWN_GROUP: Final = {"conversationId": "group"}
_KEYS: Final = ExemptParameter("who is signed in and knows the id may ask for the keys of an account that lives")
_PLACE_IN_OWN_LIST: Final = ExemptParameter("a place in a list of which only the caller's own lines are shown")

_TUS: Final = {"Tus-Resumable": "1.0.0"}

#: Every place, by route and name.
ACCESS_RULES: Final[dict[ParameterKey, AccessRule]] = {
    ("POST /auth/verify-otp", "challengeId"): _CAPABILITY,
    ("POST /auth/unlock", "registrationToken"): _CAPABILITY,
    ("POST /auth/join", "inviteToken"): _CAPABILITY,
    ("POST /auth/join", "attemptId"): _NEW_ID,
    ("POST /auth/join", "username"): ExemptParameter("that a username is taken is meant to be seen"),
    ("POST /auth/recover", "username"): ExemptParameter("the refusal is the same for every name"),
    ("POST /auth/recover", "userId"): ExemptParameter("the refusal is the same for every id"),
    ("GET /invitations", "cursor"): _PLACE_IN_OWN_LIST,
    ("DELETE /invitations/{invitationId}", "invitationId"): HiddenObject(404, "NOT_FOUND", ("sign-up invitation",)),
    ("POST /auth/refresh-token", "refreshToken"): _CAPABILITY,
    ("POST /auth/refresh-token", "attemptId"): _NEW_ID,
    ("PATCH /account", "username"): ExemptParameter("that a username is taken is meant to be seen"),
    ("PATCH /account", "pictureAttachmentId"): ExemptParameter("kept as it is, and looked up by whoever has it"),
    ("POST /account/delete", "challengeId"): HiddenObject(
        400,
        "INVALID_OTP",
        ("deletion challenge",),
        lambda world, one: {"challengeId": one, "otp": world.foreign["deletion code"]},
    ),
    ("GET /account/events", "cursor"): ExemptParameter(
        "a place in a list of which only the caller's own lines are shown"
    ),
    ("POST /account/pin/reset", "challengeId"): HiddenObject(
        400,
        "INVALID_OTP",
        ("reset challenge",),
        lambda world, one: {"challengeId": one, "otp": world.foreign["reset code"], "newPin": "a-good-new-pin"},
    ),
    ("GET /devices", "cursor"): ExemptParameter("a number among the caller's own devices"),
    ("PATCH /devices/{deviceId}", "deviceId"): HiddenObject(
        404, "NOT_FOUND", ("device",), lambda _, __: {"name": "mine"}, invented=127
    ),
    ("DELETE /devices/{deviceId}", "deviceId"): HiddenObject(404, "NOT_FOUND", ("device",), invented=127),
    ("GET /devices/links/{linkId}", "linkId"): HiddenObject(404, "NOT_FOUND", ("link", "scanned link")),
    ("POST /devices/links/{linkId}/scan", "linkId"): HiddenObject(
        404, "NOT_FOUND", ("scanned link",), lambda _, __: {"publicKey": base64_text(bytes(32))}
    ),
    ("POST /devices/links/{linkId}/approve", "linkId"): HiddenObject(
        404, "NOT_FOUND", ("scanned link",), lambda _, __: {"provisioning": base64_text(b"x")}
    ),
    ("POST /devices/links/{linkId}/reject", "linkId"): HiddenObject(404, "NOT_FOUND", ("scanned link",)),
    ("POST /devices/links/complete", "linkToken"): _CAPABILITY,
    ("POST /devices/links/complete", "registrationId"): _OWN_DEVICE,
    ("PUT /keys", "registrationId"): _OWN_DEVICE,
    ("GET /keys/{userId}", "userId"): HiddenObject(404, "NOT_FOUND", ("gone user", "blocker")),
    ("POST /keys/{userId}/claim", "userId"): HiddenObject(404, "NOT_FOUND", ("gone user", "blocker"), lambda _, __: {}),
    ("POST /keys/{userId}/claim", "deviceIds"): _KEYS,
    ("GET /users/by-username/{username}", "username"): HiddenObject(
        404, "NOT_FOUND", ("hidden username",), invented="nobody.at.all"
    ),
    ("GET /users/{userId}", "userId"): HiddenObject(404, "NOT_FOUND", ("user", "gone user", "blocker")),
    ("POST /friends/requests", "userId"): HiddenObject(
        404, "NOT_FOUND", ("gone user", "blocker"), lambda _, user: {"userId": user}
    ),
    ("GET /friends/requests", "cursor"): _PLACE_IN_OWN_LIST,
    ("POST /friends/requests/{userId}/accept", "userId"): HiddenObject(
        404, "NOT_FOUND", ("user", "gone user", "blocker")
    ),
    ("POST /friends/requests/{userId}/decline", "userId"): HiddenObject(
        404, "NOT_FOUND", ("user", "gone user", "blocker")
    ),
    ("DELETE /friends/requests/{userId}", "userId"): HiddenObject(404, "NOT_FOUND", ("user", "gone user", "blocker")),
    ("GET /friends", "cursor"): _PLACE_IN_OWN_LIST,
    ("DELETE /friends/{userId}", "userId"): HiddenObject(404, "NOT_FOUND", ("user", "gone user", "blocker")),
    ("GET /blocks", "cursor"): _PLACE_IN_OWN_LIST,
    ("PUT /blocks/{userId}", "userId"): HiddenObject(404, "NOT_FOUND", ("gone user", "blocker")),
    ("DELETE /blocks/{userId}", "userId"): HiddenObject(404, "NOT_FOUND", ("user", "gone user", "blocker")),
    ("POST /conversations", "userId"): HiddenObject(
        404, "NOT_FOUND", ("gone user", "blocker"), lambda _, user: {"kind": "direct", "userId": user}
    ),
    ("POST /conversations", "memberIds"): HiddenObject(
        404, "NOT_FOUND", ("gone user",), lambda _, user: {"kind": "group", "memberIds": [user]}
    ),
    ("GET /conversations", "cursor"): ExemptParameter(
        "a point in time: what stands behind it is the caller's own list"
    ),
    ("GET /conversations/{conversationId}", "conversationId"): HiddenObject(404, "NOT_FOUND", ("conversation",)),
    ("PATCH /conversations/{conversationId}", "conversationId"): HiddenObject(
        404, "NOT_FOUND", ("conversation", "group"), lambda _, __: {"version": 1, "messageTimerSeconds": 60}
    ),
    ("GET /conversations/{conversationId}/members", "conversationId"): HiddenObject(404, "NOT_FOUND", _FOREIGN),
    ("GET /conversations/{conversationId}/members", "cursor"): ExemptParameter(
        "a place in a list that only members are shown"
    ),
    ("POST /conversations/{conversationId}/members", "conversationId"): HiddenObject(
        404, "NOT_FOUND", _FOREIGN, lambda world, _: {"userIds": [world.own["friend"]]}
    ),
    ("POST /conversations/{conversationId}/members", "userIds"): HiddenObject(
        404, "NOT_FOUND", ("gone user",), lambda _, user: {"userIds": [user]}, own=_OWN_GROUP
    ),
    ("DELETE /conversations/{conversationId}/members/{userId}", "conversationId"): HiddenObject(
        404, "NOT_FOUND", _FOREIGN
    ),
    ("DELETE /conversations/{conversationId}/members/{userId}", "userId"): HiddenObject(
        404, "NOT_FOUND", ("user", "gone user"), own=_OWN_GROUP
    ),
    ("PATCH /conversations/{conversationId}/members/{userId}", "conversationId"): HiddenObject(
        404, "NOT_FOUND", _FOREIGN, lambda _, __: {"role": "admin"}
    ),
    ("PATCH /conversations/{conversationId}/members/{userId}", "userId"): HiddenObject(
        404, "NOT_FOUND", ("user", "gone user"), lambda _, __: {"role": "admin"}, own=_OWN_GROUP
    ),
    ("POST /conversations/{conversationId}/invites", "conversationId"): HiddenObject(
        404, "NOT_FOUND", _FOREIGN, lambda _, __: {}
    ),
    ("GET /conversations/{conversationId}/invites", "conversationId"): HiddenObject(404, "NOT_FOUND", _FOREIGN),
    ("GET /conversations/{conversationId}/invites", "cursor"): ExemptParameter(
        "a place in a list that only admins are shown"
    ),
    ("DELETE /conversations/{conversationId}/invites/{inviteId}", "conversationId"): HiddenObject(
        404, "NOT_FOUND", _FOREIGN
    ),
    ("DELETE /conversations/{conversationId}/invites/{inviteId}", "inviteId"): HiddenObject(
        404, "NOT_FOUND", ("invite",), own=_OWN_GROUP
    ),
    ("POST /invites/{token}/join", "token"): _CAPABILITY,
    ("GET /conversations/invitations", "cursor"): _PLACE_IN_OWN_LIST,
    ("POST /conversations/invitations/{conversationId}/accept", "conversationId"): HiddenObject(
        404, "NOT_FOUND", _FOREIGN
    ),
    ("DELETE /conversations/invitations/{conversationId}", "conversationId"): HiddenObject(404, "NOT_FOUND", _FOREIGN),
    ("POST /messages", "messageId"): _NEW_ID,
    ("POST /messages", "conversationId"): HiddenObject(
        403, "NOT_A_MEMBER", ("conversation",), lambda world, one: _post(world, conversation=one)
    ),
    ("POST /messages", "userId"): HiddenObject(
        404, "NOT_FOUND", ("user", "gone user"), lambda world, one: _post(world, user=one)
    ),
    ("POST /messages", "deviceId"): ExemptParameter("the devices of a member are shown to members"),
    ("POST /messages", "registrationId"): ExemptParameter("the devices of a member are shown to members"),
    ("GET /messages/{messageId}", "messageId"): HiddenObject(404, "NOT_FOUND", ("message",)),
    ("GET /ws", "ticket"): _CAPABILITY,
    ("HEAD /attachments/{attachmentId}", "attachmentId"): HiddenObject(404, "NOT_FOUND", ("attachment",), headers=_TUS),
    ("PATCH /attachments/{attachmentId}", "attachmentId"): HiddenObject(
        404, "NOT_FOUND", ("attachment",), headers={**_TUS, "Upload-Offset": "0", "Content-Type": MEDIA_TYPE}
    ),
    ("DELETE /attachments/{attachmentId}", "attachmentId"): HiddenObject(
        404, "NOT_FOUND", ("attachment",), headers=_TUS
    ),
    ("GET /attachments/{attachmentId}", "attachmentId"): HiddenObject(404, "NOT_FOUND", ("attachment",)),
}
