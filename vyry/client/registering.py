"""Signing up: a code that was sent to a telephone, and the PIN where the account has locked its number (docs/protocol.md, "Sign-up")."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from vyry.client.refusals import Refused
from vyry.client.rest import Body, Rest
from vyry.client.shapes import words


_LONGEST_TOKEN: Final = 4_096
Read = Callable[[], Awaitable[str]]


async def sign_up(rest: Rest, phone_number: str, name: str, read_code: Read, read_pin: Read | None) -> Body:
    """The session of a new primary device. The PIN is asked for only where the node wants it, and tried once. Raises Refused (INVALID_OTP, PIN_REQUIRED, INVALID_PIN, PIN_LOCKED ...), Unreachable."""
    device = {"name": name, "platform": "cli"}
    challenge = await rest.open_call("POST", "/auth/request-otp", {"phoneNumber": phone_number})
    with rest.shaped():
        challenge_id = words(challenge["challengeId"])
    proof = {"challengeId": challenge_id, "otp": await read_code()}
    session = await rest.open_call("POST", "/auth/verify-otp", {**proof, "device": device})
    if not session.get("requiresPin"):
        return session
    if read_pin is None:
        raise Refused(423, {"error_code": "PIN_REQUIRED", "error": "This number is locked: give the account's PIN."})
    with rest.shaped():
        token = words(session["registrationToken"], _LONGEST_TOKEN)
    unlock: dict[str, Any] = {"registrationToken": token, "pin": await read_pin()}
    return await rest.open_call("POST", "/auth/unlock", {**unlock, "device": device})
