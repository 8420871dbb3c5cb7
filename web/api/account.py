"""The caller's account: profile, settings, events, archive and deletion (docs/protocol.md, "Account")."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from vyry.accounts.account import AccountChange
from vyry.accounts.pin import Guesser, checks_left
from vyry.accounts.profile import OwnAccount
from vyry.accounts.proofs import read_proof
from vyry.errors import InvalidOtp, InvalidPin, InvalidRecoveryCode, PinLocked, UsernameTaken
from vyry.limits import EXPORT, PIN_CHECKS, USERNAMES
from web.app_keys import CALLER, GRANTS, SERVICES
from web.bodies import json_response, read_body, read_query, send_json_stream
from web.route import Route
from web.wire.account import Event, RecoveryCode
from web.wire.archive_writer import AccountArchive, write_archive
from web.wire.shapes import (
    Base64Bytes,
    Bio,
    Id,
    Name,
    Nothing,
    OneTimeCode,
    PageLimit,
    Pin,
    Timestamp,
    Username,
    WireModel,
)


SealedProfile = Annotated[bytes, Base64Bytes(0, 8 << 10)]


class Settings(WireModel):
    """Every setting with its effective value."""

    messages_from: Literal["everyone", "friends"]
    discoverable_by_phone: bool
    show_presence: bool
    delivery_receipts: bool
    read_receipts: bool
    typing_indicators: bool


class SettingsChange(WireModel):
    """Settings to change; null restores the default, an absent field keeps its value."""

    messages_from: Literal["everyone", "friends"] | None = None
    discoverable_by_phone: bool | None = None
    show_presence: bool | None = None
    delivery_receipts: bool | None = None
    read_receipts: bool | None = None
    typing_indicators: bool | None = None


class ChangeAccount(WireModel):
    """Fields to change; null clears, an absent field keeps its value."""

    username: Username | None = None
    display_name: Name | None = None
    bio: Bio | None = None
    picture_attachment_id: Id | None = None
    sealed_profile: SealedProfile | None = None
    settings: SettingsChange | None = None


class Account(WireModel):
    """The account as its owner reads it."""

    user_id: Id
    #: Masked: country code and last two digits; null for an account without a number.
    phone_number: str | None
    username: str | None
    display_name: str | None
    bio: str | None
    picture_attachment_id: Id | None
    sealed_profile: SealedProfile | None
    settings: Settings
    created_at: Timestamp


class DeleteAccount(WireModel):
    """The owner's proof: a code of purpose deleteAccount or the recovery code, and the PIN if one is set; without a number, the recovery code or the PIN."""

    challenge_id: Id | None = None
    otp: OneTimeCode | None = None
    recovery_code: RecoveryCode | None = None
    pin: Pin | None = None


class GivenPin(WireModel):
    """The PIN, if one is set."""

    pin: Pin | None = None


class NewRecoveryCode(WireModel):
    """The recovery code of the account, which no later response contains. Any other is void."""

    recovery_code: str


class EventsQuery(WireModel):
    """A page of a list; `cursor` is the `nextCursor` of the previous page."""

    limit: PageLimit = 50
    cursor: Annotated[str, Field(pattern="^[0-9]{1,18}$")] | None = None


class Events(WireModel):
    """The account's events, newest first."""

    events: Sequence[Event]
    next_cursor: str | None


async def show(request: web.Request) -> web.Response:
    """GET /account."""
    return json_response(_account_shape(await request.app[SERVICES].accounts.load(request[CALLER])))


async def change(request: web.Request) -> web.Response:
    """PATCH /account: changes the named fields; null clears."""
    body = await read_body(request, ChangeAccount)
    accounts = request.app[SERVICES].accounts
    own = await accounts.change(request[CALLER], _account_change(body))
    request[GRANTS] = [(USERNAMES.name, await accounts.names.remaining(own.account.user_id))]
    return json_response(_account_shape(own))


def _account_change(body: ChangeAccount) -> AccountChange:
    profile = {name: getattr(body, name) for name in body.model_fields_set - {"settings"}}
    if "settings" not in body.model_fields_set:
        return AccountChange(profile)
    if body.settings is None:
        return AccountChange(profile, None)
    return AccountChange(profile, body.settings.model_dump(by_alias=True, exclude_unset=True))


def _account_shape(own: OwnAccount) -> Account:
    account = own.account
    return Account(
        user_id=account.user_id,
        phone_number=own.phone_number,
        username=account.username,
        display_name=account.display_name,
        bio=account.bio,
        picture_attachment_id=account.picture_attachment_id,
        sealed_profile=account.sealed_profile,
        settings=Settings.model_validate(own.settings),
        created_at=account.created_at,
    )


async def list_events(request: web.Request) -> web.Response:
    """GET /account/events: newest first."""
    query = read_query(request, EventsQuery)
    before = int(query.cursor) if query.cursor else None
    page = await request.app[SERVICES].account_events.page(request[CALLER].user_id, query.limit, before)
    shown = [Event(at=each.at, name=each.name, device_id=each.device_id, detail=each.detail) for each in page.events]
    return json_response(Events(events=shown, next_cursor=None if page.next_before is None else str(page.next_before)))


async def export(request: web.Request) -> web.StreamResponse:
    """GET /account/export: streamed."""
    opened = await request.app[SERVICES].exports.open(request[CALLER])
    request[GRANTS] = opened.grants
    return await send_json_stream(request, write_archive(opened.started_at, opened.pages))


async def delete(request: web.Request) -> web.Response:
    """POST /account/delete: tokens and sockets end within a second, all data is deleted within a minute."""
    body = await read_body(request, DeleteAccount)
    services = request.app[SERVICES]
    proof = read_proof(body.challenge_id, body.otp, body.recovery_code)
    await services.deletion.delete(request[CALLER], proof, body.pin)
    request[GRANTS] = checks_left(services.buckets, Guesser.from_caller(request[CALLER]))
    return json_response(Nothing())


async def renew_recovery_code(request: web.Request) -> web.Response:
    """POST /account/recovery-code."""
    body = await read_body(request, GivenPin)
    services = request.app[SERVICES]
    code = await services.recovery.renew(request[CALLER], body.pin)
    request[GRANTS] = checks_left(services.buckets, Guesser.from_caller(request[CALLER]))
    return json_response(NewRecoveryCode(recovery_code=code))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/account",
        operation="account.show",
        handler=show,
        summary="The caller's account",
        responses={200: Account},
    ),
    Route(
        method="PATCH",
        path="/api/v1/account",
        operation="account.change",
        handler=change,
        summary="Change the named fields; null clears",
        body=ChangeAccount,
        responses={200: Account},
        refusals=(UsernameTaken,),
        documented_quota=USERNAMES,
    ),
    Route(
        method="GET",
        path="/api/v1/account/events",
        operation="account_life.events",
        handler=list_events,
        summary="Security events of the account, newest first",
        query=EventsQuery,
        responses={200: Events},
    ),
    Route(
        method="GET",
        path="/api/v1/account/export",
        operation="account_life.export",
        handler=export,
        summary="Export everything that the node stores about the account",
        responses={200: AccountArchive},
        documented_quota=EXPORT,
    ),
    Route(
        method="POST",
        path="/api/v1/account/delete",
        operation="account_life.delete",
        handler=delete,
        summary="Delete the account: sessions end at once, all data within a minute",
        body=DeleteAccount,
        responses={200: Nothing},
        refusals=(InvalidOtp, InvalidRecoveryCode, InvalidPin, PinLocked),
        documented_quota=PIN_CHECKS,
    ),
    Route(
        method="POST",
        path="/api/v1/account/recovery-code",
        operation="account_life.renew_recovery_code",
        handler=renew_recovery_code,
        summary="Make a new recovery code in place of any other; needs the PIN if one is set",
        body=GivenPin,
        responses={200: NewRecoveryCode},
        refusals=(InvalidPin, PinLocked),
        documented_quota=PIN_CHECKS,
        is_body_optional=True,
    ),
)
