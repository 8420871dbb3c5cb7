"""Texts of alerts (keys, device lists, members, losses): what happened and what the user has to do."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vyry.cli.client.terminal_text import quote_name


Body = Mapping[str, Any]
#: What the node claims about a conversation, by `reason`.
_FORGED_FACTS: Final[Mapping[str, str]] = {
    "member": "other members of a direct conversation than its two users",
    "kind": "that a direct conversation is a group or the reverse",
}
_SOURCE_TEXTS: Final[Mapping[str, str]] = {
    "list": "in your list of devices",
    "bundle": "in prekeys of a device of yours",
    "message": "in a message that claims to be from you",
    "sync": "in a message that claims to be from a device of yours",
}


def _unreadable(who: str, body: Body) -> str:
    text = f"A message of {who} could not be read ({body['reason']})."
    if body["reason"] == "SenderRewound":
        text = f"{text} The device of {who} was restored from an older copy and used a message key twice."
    return (
        f"{text} Vyry asked their device to send it again."
        if body["isAwaited"]
        else f"{text} Ask {who} to send it again."
    )


def _lost(body: Body) -> str:
    if body["reason"] == "rolledBack" and not body["count"]:
        return "This profile was restored from an older copy: all sessions are created again. Messages received after that copy are missing."
    if body["reason"] == "operator":
        return f"The operator of the node dropped messages for this device ({body['count']})."
    text = f"{body['count']} messages were lost on the node ({body['reason']})."
    return text if body["count"] != 1 else f"1 message was lost on the node ({body['reason']})."


def _not_sent(body: Body) -> str:
    if body.get("isKept"):
        return f"A message is held until you decide ({body['reason']}); run `vyry client chats` to see where."
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
        f"The node lists {device} of {who}, but their own devices do not list it, or their key did not sign it"
        if body["seenBy"] == "node"
        else f"The node does not list {device}, which {who} uses"
    )
    return f"{seen}. Ask {who} over another channel (in person or by phone) to check `vyry client devices list`."


#: By the name of the event: its text, given the name of the user that it is about.
ALERT_TEXTS: Final[Mapping[str, Callable[[str, Body], str]]] = {
    "unreadable": _unreadable,
    "lost": lambda _, body: _lost(body),
    "notSent": lambda _, body: _not_sent(body),
    "identityChanged": lambda who, _: (
        f"The key of {who} has changed: messages to and from them are held until you decide. Run `vyry client safety` with their name "
        "and compare the new safety number in person or by phone."
    ),
    "ownIdentityForged": lambda _, body: (
        f"The node shows keys for your account that your devices did not create ({_source_text(body)}). They are not used and not trusted. "
        "Check `vyry client devices list` and ask the operator of the node."
    ),
    "ownDeviceAdded": lambda _, body: (
        f"Your account has a new device: {_device_text(body)}. If you did not link it just now, remove it: `vyry client devices remove {body['deviceId']}`."
    ),
    "conversationForged": lambda _, body: (
        f"The node reports {_FORGED_FACTS[body['reason']]}. Vyry encrypts nothing for them and opens nothing from them. "
        "Ask the other person over another channel, and ask the operator of the node."
    ),
    "memberAdded": lambda who, body: (
        f"The node reports that {who} was added to the group. The key of {who} is {'' if body['isVerified'] else 'not '}verified."
    ),
    "memberForged": lambda who, body: (
        f"{who} is not a member of a group but sent something to it ({body['kind']}). It is ignored. Ask the other members whether {who} should be in the group."
    ),
    "deviceListDiffers": _list_differs,
}
