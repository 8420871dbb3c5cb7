"""Texts of notices from the node."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vyry.cli.client.terminal_text import quote_name


Body = Mapping[str, Any]


def notice(who: str, body: Body) -> str:
    """The text of a notice about the user with this name; only the name of an unknown notice."""
    describe = _NOTICE_TEXTS.get(body["name"])
    try:
        return describe(who, body) if describe else f"Notice: {body['name']}"
    except KeyError:
        # The node left a field out.
        return f"Notice: {body['name']}"


def _changed(who: str, body: Body) -> str:
    return (
        f"The node reports that {who} registered again." if body["identityChanged"] else f"{who} has other devices now."
    )


_NOTICE_TEXTS: Final[Mapping[str, Callable[[str, Body], str]]] = {
    "prekeysLow": lambda *_: "This device had few prekeys left: it uploads more.",
    "devicesChanged": _changed,
    "deviceLinked": lambda _, body: (
        f"The node lists a new device of your account: {quote_name(body['deviceName'])}, {body['platform']}, number {body['deviceId']}."
    ),
    "deviceIdle": lambda _, body: (
        f"Device {body['deviceId']} has not been used for long and is removed on {body['endsOn']}, unless it is used before."
    ),
    "pinChanged": lambda _, body: f"The PIN of your account was {body['change']} on another device.",
    "pinFailed": lambda _, body: (
        f"A wrong PIN was entered for your account: {body['attemptsRemaining']} attempts are left before it is locked."
    ),
    "registrationAttempted": lambda *_: (
        "Someone entered a valid code for your number; the registration lock stopped the sign-up. If it was not you, ask your carrier."
    ),
    "tokenReused": lambda _, body: (
        f"A token of device {body['deviceId']} was used twice, so its sessions ended: its store may have been copied."
    ),
    "accountDeleted": lambda who, _: f"The account {who} was deleted.",
    "conversationChanged": lambda _, body: (
        f"Conversation {body['conversationId']} has changed: `vyry client chats` shows it."
    ),
    "groupInvited": lambda *_: (
        "You have a group invitation: `vyry client groups invitations` lists it, `vyry client groups accept` accepts it."
    ),
    # A valid announcement is an event of its own.
    "announcement": lambda *_: "The operator of this node announced something that cannot be shown.",
    "callMissed": lambda who, _: f"{who} called, and no device took the call.",
}
