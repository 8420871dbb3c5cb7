"""People who join a node by invitation, over REST or by the services of a node."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, NodeClient
from vyry.accounts.events import OperatorAction
from vyry.accounts.signup_invitations import InvitationTerms
from vyry.operator.secret_files import read_peppers
from vyry.operator.signup_invitations import create_invitation
from vyry.settings.settings import Settings


DEVICE = {"name": "test phone", "platform": "cli"}


async def invite(settings: Settings, uses: int = 1, days: int = 7) -> str:
    """The token of a new invitation, made as an operator makes one."""
    peppers = read_peppers(settings.pepper.get_secret_value())
    act = OperatorAction(datetime.now(UTC), "op", "invite", "a test")
    _, token = await create_invitation(peppers, InvitationTerms(uses, timedelta(days=days)), act)
    return token


async def join(server: NodeServer, token: str | None = None, **members: Any) -> Device:
    """A device of a new account without a number, by this invitation or by one of its own."""
    wanted = {"inviteToken": token or await invite(server.settings), "device": DEVICE, **members}
    return Device(server.node, "", await server.node.call("POST", "/auth/join", wanted))


async def recover(node: NodeClient, code: str, **name: str) -> Body:
    """The response of POST /auth/recover."""
    return await node.call("POST", "/auth/recover", {**name, "recoveryCode": code, "device": DEVICE})
