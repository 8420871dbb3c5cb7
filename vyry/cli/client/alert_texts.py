"""Texts of alerts (keys, device lists, members, losses): what happened and what the user has to do."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vyry.cli.client.terminal_text import quote_name


Body = Mapping[str, Any]
#: What the node claims about a conversation, by `reason`.
_FORGED_FACTS: Final[Mapping[str, str]] = {
    "member": "other members of a direct conversation than the two it is for",
    "kind": "that a direct conversation is a group, or a group a direct conversation",
}
_SOURCE_TEXTS: Final[Mapping[str, str]] = {
    "list": "in your list of devices",
    "bundle": "in prekeys of a device of yours",
    "message": "in a message as if from you",
    "sync": "in a message as if from a device of yours",
}


def _unreadable(who: str, body: Body) -> str:
    text = f"A message of {who} could not be read ({body['reason']})."
    if body["reason"] == "SenderRewound":
        text = f"{text} The device of {who} works with an older copy of itself and used a key twice."
    return f"{text} It was asked for again." if body["isAwaited"] else f"{text} Ask {who} to send it again."


def _lost(body: Body) -> str:
    if body["reason"] == "rolledBack" and not body["count"]:
        return "This profile is an older copy of itself: all sessions begin anew. What the newer copy received is not here."
    text = f"{body['count']} messages were lost on the node ({body['reason']})."
    return text if body["count"] != 1 else f"1 message was lost on the node ({body['reason']})."


def _not_sent(body: Body) -> str:
    if body.get("isKept"):
        return f"A message waits for you to decide ({body['reason']}) and is sent after that: `vyry client chats` shows where."
    return f"A message could not be sent ({body['reason']})."


def _source_text(body: Body) -> str:
    device = f", device {body['deviceId']}" if "deviceId" in body else ""
    return f"{_SOURCE_TEXTS.get(body['source'], body['source'])}{device}"


def _device_text(body: Body) -> str:
    name = [quote_name(body["deviceName"])] if body.get("deviceName") else []
    parts = [str(body[each]) for each in ("platform", "addedAt") if body.get(each)]
    return ", ".join([*name, *parts, f"number {body['deviceId']}"])


def _list_differs(who: str, body: Body) -> str:
    device = f"device {body['deviceId']}" if "deviceId" in body else "a device"
    seen = (
        f"The node lists {device} of {who}, and their own devices do not, or their key did not sign it"
        if body["seenBy"] == "node"
        else f"The node does not list {device} that {who} uses"
    )
    return f"{seen}. Ask {who} over another way to look at `vyry client devices list`."


#: By the name of the event: its text, given the name of the user that it is about.
ALERT_TEXTS: Final[Mapping[str, Callable[[str, Body], str]]] = {
    "unreadable": _unreadable,
    "lost": lambda _, body: _lost(body),
    "notSent": lambda _, body: _not_sent(body),
    "identityChanged": lambda who, _: (
        f"The key of {who} has changed: nothing is sent to them or opened until you decide. Type `vyry client safety` and their name, "
        "and compare the new number over another way."
    ),
    "ownIdentityForged": lambda _, body: (
        f"The node shows keys for your own account that you did not make ({_source_text(body)}). Nothing is sealed for them and nothing of them is believed. "
        "Look at `vyry client devices list`, and ask the operator of the node."
    ),
    "ownDeviceAdded": lambda _, body: (
        f"Your account has a new device: {_device_text(body)}. If you did not link it just now, remove it: `vyry client devices remove {body['deviceId']}`."
    ),
    "conversationForged": lambda _, body: (
        f"The node tells {_FORGED_FACTS[body['reason']]}. Nothing is sealed or opened there for them. "
        "Ask the other side over another way, and the operator of the node."
    ),
    "memberAdded": lambda who, body: (
        f"{who} was added to the group, as the node says; the key of {who} was {'' if body['isVerified'] else 'not '}compared."
    ),
    "memberForged": lambda who, body: (
        f"{who} is no member of a group and sent something for it ({body['kind']}): nothing of it is believed. Ask the other members if {who} should be in it."
    ),
    "deviceListDiffers": _list_differs,
}
