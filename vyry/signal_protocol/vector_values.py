"""Values of a vector file, and how a case's result is compared with what it expects (docs/signal-protocol.md, "Vectors")."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from vyry.kernel.base64_text import decode_base64, encode_base64
from vyry.signal_protocol.keys import OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, SigningPair


Value = dict[str, Any]
Found = dict[str, object]


class Mismatch(Exception):
    """A case expects something else than this implementation computes."""


def compare(found: Mapping[str, object], expected: Mapping[str, Any], where: str = "") -> None:
    """Check that everything expected was found. Raises Mismatch."""
    for name, value in expected.items():
        path = f"{where}{name}"
        if name not in found:
            raise Mismatch(f"{path} is not a result of this case")
        actual = found[name]
        if isinstance(value, dict) and isinstance(actual, dict):
            compare(actual, value, f"{path}.")
        elif type(shown(actual)) is not type(value) or shown(actual) != value:
            raise Mismatch(f"{path} differs")


def shown(value: object) -> object:
    """A value as a vector file has it."""
    if isinstance(value, bytes):
        return encode_base64(value)
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    return [shown(each) for each in value] if isinstance(value, list) else value


def address_of(device: Value) -> Address:
    """The address of a device of a case."""
    return Address(UUID(device["userId"]), device["deviceId"])


def device_of(device: Value) -> OwnDevice:
    """A device of a case, with its private keys."""
    identity, dh = (
        SigningPair.from_private(decode_base64(device["identityPrivate"])),
        DhPair.from_private(decode_base64(device["identityDhPrivate"])),
    )
    return OwnDevice(address_of(device), device.get("registrationId", 1), identity, dh)
