"""The caller's account."""

from typing import Final

from vyry.errors import (
    UsernameTaken,
)
from vyry.limits import USERNAMES
from web.app_keys import Route
from web.handlers import account
from web.wire.account import Account, ChangeAccount


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/api/v1/account",
        operation="account.show",
        handler=account.show,
        summary="The caller's account",
        responses={200: Account},
    ),
    Route(
        method="PATCH",
        path="/api/v1/account",
        operation="account.change",
        handler=account.change,
        summary="Change what is named; null clears",
        body=ChangeAccount,
        responses={200: Account},
        refusals=(UsernameTaken,),
        quota=USERNAMES,
    ),
)
