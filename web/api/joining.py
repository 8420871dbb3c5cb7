"""Joining by invitation, and recovery of an account (docs/protocol.md, "Joining and recovery")."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import Field, RootModel

from vyry.accounts.account import Platform
from vyry.accounts.joining import JoinRequest
from vyry.accounts.recovery import RecoveryName
from vyry.accounts.signup import PinChallenge
from vyry.errors import Forbidden, InvalidRecoveryCode, InvalidRequest, NotFound, UsernameTaken
from vyry.kernel.ids import UserId
from vyry.limits import JOIN, RECOVERY_TRIES
from web.app_keys import GRANTS, SERVICES
from web.auth import client_address
from web.bodies import json_response, read_body
from web.route import Route
from web.wire.account import DeviceDescription, PinAsked, RecoveredSession, RecoveryCode
from web.wire.shapes import Id, Name, Username, WireModel


class Join(WireModel):
    """The token of an invitation, and the new account. A retry repeats the `attemptId` of its attempt. An open node needs no token."""

    invite_token: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    attempt_id: Id | None = None
    username: Username | None = None
    display_name: Name | None = None
    device: DeviceDescription


class Recover(WireModel):
    """The account by its username or id, its recovery code, and the device that signs up."""

    username: Username | None = None
    user_id: Id | None = None
    recovery_code: RecoveryCode
    device: DeviceDescription

    def to_domain(self) -> RecoveryName:
        """The domain value of this shape. Raises InvalidRequest unless one name is given."""
        if (self.username is None) == (self.user_id is None):
            problem = "one of username and userId is required"
            raise InvalidRequest(fields=[{"field": name, "problem": problem} for name in ("username", "userId")])
        return RecoveryName(self.username, None if self.user_id is None else UserId(self.user_id))


class Recovered(RootModel[RecoveredSession | PinAsked]):
    """A session with a new recovery code, or a request for the PIN."""


async def join(request: web.Request) -> web.Response:
    """POST /auth/join: a session of a new account, with its recovery code."""
    body = await read_body(request, Join)
    wanted = JoinRequest(
        body.invite_token,
        body.attempt_id,
        body.username,
        body.display_name,
        body.device.name,
        Platform(body.device.platform),
    )
    made, grant = await request.app[SERVICES].sign_up.joining.join(wanted, client_address(request))
    request[GRANTS] = [(JOIN.name, grant)]
    return json_response(RecoveredSession.from_new_session(made), status=201)


async def recover(request: web.Request) -> web.Response:
    """POST /auth/recover: a session on a new primary device with another recovery code, or a request for the PIN."""
    body = await read_body(request, Recover)
    name, device = body.to_domain(), body.device
    made = await request.app[SERVICES].sign_up.recovery.recover(
        name, body.recovery_code, device.name, Platform(device.platform), client_address(request)
    )
    return json_response(
        PinAsked.from_domain(made) if isinstance(made, PinChallenge) else RecoveredSession.from_new_session(made)
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/auth/join",
        operation="auth.join",
        handler=join,
        summary="Make an account without a phone number, by an invitation",
        auth="open",
        body=Join,
        responses={201: RecoveredSession},
        refusals=(NotFound, UsernameTaken, Forbidden),
        documented_quota=JOIN,
    ),
    Route(
        method="POST",
        path="/api/v1/auth/recover",
        operation="auth.recover",
        handler=recover,
        summary="Sign up by the recovery code: a new primary device; all other devices of the account end. A registration lock requires the PIN first",
        auth="open",
        body=Recover,
        responses={200: Recovered},
        refusals=(InvalidRecoveryCode, Forbidden),
        documented_quota=RECOVERY_TRIES,
    ),
)
