"""Invitations to sign up that members make (docs/protocol.md, "Invitations to the node")."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vyry.accounts.signup_invitations import InvitationTerms, SignupInvitation, invitation_link
from vyry.errors import Forbidden, NotFound
from vyry.limits import MEMBER_INVITES
from web.app_keys import CALLER, GRANTS, SERVICES
from web.auth import public_origin
from web.bodies import json_response, path_id, read_body, read_query
from web.route import Route
from web.wire.shapes import Count, Id, Name, Nothing, PageQuery, Timestamp, WireModel


class InvitePeople(WireModel):
    """How many people may use the invitation, for how many days, and a note for the list."""

    uses: Annotated[int, Field(ge=1, le=1_000)] = 1
    days: Annotated[int, Field(ge=1, le=365)] = 7
    label: Name | None = None

    def to_domain(self) -> InvitationTerms:
        """The domain value of this shape."""
        return InvitationTerms(self.uses, timedelta(days=self.days), self.label)


class NewSignupInvitation(WireModel):
    """An invitation with its token, which no later response contains. `url` has the token after `#`, which browsers do not send to a server."""

    id: Id
    token: str
    url: str
    uses: Count
    label: str | None
    expires_at: Timestamp


class SignupInvitationView(WireModel):
    """An invitation for `uses` people, `used` by so many."""

    id: Id
    uses: Count
    used: Count
    label: str | None
    created_at: Timestamp
    expires_at: Timestamp

    @classmethod
    def from_domain(cls, each: SignupInvitation) -> "SignupInvitationView":
        """The shape of this domain value."""
        return cls(
            id=each.invitation_id,
            uses=each.max_uses,
            used=each.uses,
            label=each.label,
            created_at=each.created_at,
            expires_at=each.expires_at,
        )


class SignupInvitationList(WireModel):
    """The caller's invitations that are neither expired nor revoked, newest first; used up ones are included."""

    invitations: Sequence[SignupInvitationView]
    next_cursor: Id | None


async def create(request: web.Request) -> web.Response:
    """POST /invitations."""
    terms = (await read_body(request, InvitePeople)).to_domain()
    made, token, grant = await request.app[SERVICES].signup_invitations.create(request[CALLER].user_id, terms)
    request[GRANTS] = [(MEMBER_INVITES.name, grant)]
    shape = NewSignupInvitation(
        id=made.invitation_id,
        token=token,
        url=invitation_link(public_origin(request), token),
        uses=made.max_uses,
        label=made.label,
        expires_at=made.expires_at,
    )
    return json_response(shape, status=201)


async def index(request: web.Request) -> web.Response:
    """GET /invitations."""
    query = read_query(request, PageQuery)
    page = await request.app[SERVICES].signup_invitations.list(request[CALLER].user_id, query.limit, query.cursor)
    shown = [SignupInvitationView.from_domain(each) for each in page.invitations]
    return json_response(SignupInvitationList(invitations=shown, next_cursor=page.next_cursor))


async def revoke(request: web.Request) -> web.Response:
    """DELETE /invitations/{invitationId}."""
    invitation_id = path_id(request, "invitationId")
    await request.app[SERVICES].signup_invitations.revoke(request[CALLER].user_id, invitation_id)
    return json_response(Nothing())


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path="/api/v1/invitations",
        operation="signup_invitations.create",
        handler=create,
        summary="Invite people to this node, as many in 30 days as it allows",
        body=InvitePeople,
        responses={201: NewSignupInvitation},
        refusals=(Forbidden,),
        documented_quota=MEMBER_INVITES,
        is_body_optional=True,
    ),
    Route(
        method="GET",
        path="/api/v1/invitations",
        operation="signup_invitations.index",
        handler=index,
        summary="The caller's invitations to this node, newest first",
        query=PageQuery,
        responses={200: SignupInvitationList},
    ),
    Route(
        method="DELETE",
        path="/api/v1/invitations/{invitationId}",
        operation="signup_invitations.revoke",
        handler=revoke,
        summary="Revoke an invitation to this node",
        responses={200: Nothing},
        refusals=(NotFound,),
    ),
)
