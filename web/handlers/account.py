"""The caller's own account."""

from aiohttp import web

from vyry.accounts.account import AccountChange
from vyry.accounts.profile import OwnAccount
from vyry.limits import USERNAMES
from web.app_keys import CALLER, GRANTS, SERVICES
from web.wire.account import Account, ChangeAccount, Settings
from web.wire.strict import json_response, read_body


async def show(request: web.Request) -> web.Response:
    """GET /account."""
    return json_response(_account_shape(await request.app[SERVICES].accounts.load(request[CALLER])))


async def change(request: web.Request) -> web.Response:
    """PATCH /account: what is named changes, null clears."""
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
