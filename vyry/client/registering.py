"""Signing up: a code that was sent to a telephone, and the PIN where the account has locked its number (docs/protocol.md, "Sign-up")."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from vyry.client.names import read_number
from vyry.client.refusals import Refused
from vyry.client.rest import Body, Rest
from vyry.client.shapes import words


_LONGEST_TOKEN: Final = 4_096
Read = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Proofs:
    """Where the code and, if the number is locked, the PIN come from. `again`: whether a wrong one is read once more; it hears the refusal, which tells `attempts_remaining`."""

    code: Read
    pin: Read | None = None
    again: Callable[[Refused], bool] = lambda _: False


async def sign_up(rest: Rest, phone_number: str, name: str, proofs: Proofs) -> Body:
    """The session of a new primary device. The PIN is asked for only where the node wants it. Raises Refused (INVALID_OTP, PIN_REQUIRED, INVALID_PIN, PIN_LOCKED ...), BadNumber, Unreachable."""
    device = {"name": name, "platform": "cli"}
    challenge = await rest.open_call("POST", "/auth/request-otp", {"phoneNumber": read_number(phone_number)})
    with rest.shaped():
        challenge_id = words(challenge["challengeId"])

    async def verify() -> Body:
        proof = {"challengeId": challenge_id, "otp": await proofs.code()}
        return await rest.open_call("POST", "/auth/verify-otp", {**proof, "device": device})

    session = await _repeated(verify, proofs)
    if not session.get("requiresPin"):
        return session
    read_pin = proofs.pin
    if read_pin is None:
        raise Refused(423, {"error_code": "PIN_REQUIRED", "error": "This number is locked: give the account's PIN."})
    with rest.shaped():
        token = words(session["registrationToken"], _LONGEST_TOKEN)

    async def unlock() -> Body:
        proof = {"registrationToken": token, "pin": await read_pin()}
        return await rest.open_call("POST", "/auth/unlock", {**proof, "device": device})

    return await _repeated(unlock, proofs)


async def _repeated(prove: Callable[[], Awaitable[Body]], proofs: Proofs) -> Body:
    while True:
        try:
            return await prove()
        except Refused as refused:
            if not proofs.again(refused):
                raise
