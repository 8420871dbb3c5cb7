"""The caller's own account."""

from aiohttp import web

from vyry.accounts.account import AccountChange
from vyry.accounts.profile import OwnAccount
from vyry.limits import USERNAMES
from web.keys import CALLER, GRANTS, SERVICES
from web.wire.account import Account, ChangeAccount, Settings
from web.wire.strict import answer, read


async def show(request: web.Request) -> web.Response:
    """GET /account."""
    return answer(_shape(await request.app[SERVICES].accounts.of(request[CALLER])))


async def change(request: web.Request) -> web.Response:
    """PATCH /account: what is named changes, null clears."""
    body = await read(request, ChangeAccount)
    accounts = request.app[SERVICES].accounts
    own = await accounts.change(request[CALLER], _change(body))
    request[GRANTS] = [(USERNAMES.name, await accounts.names.left(own.account.user_id))]
    return answer(_shape(own))


def _change(body: ChangeAccount) -> AccountChange:
    profile = {name: getattr(body, name) for name in body.model_fields_set - {"settings"}}
    if "settings" not in body.model_fields_set:
        return AccountChange(profile)
    if body.settings is None:
        return AccountChange(profile, None)
    return AccountChange(profile, body.settings.model_dump(by_alias=True, exclude_unset=True))


def _shape(own: OwnAccount) -> Account:
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
