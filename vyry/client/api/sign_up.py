"""Sign-up: a one-time code sent to a phone number, or the recovery code, and the PIN if the account is locked (docs/protocol.md, "Sign-up and sessions")."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vyry.client.errors import MistypedRecoveryCode, Refused
from vyry.client.store.remembered_names import read_number
from vyry.client.transport.rest import MAX_TOKEN, Body, RestClient
from vyry.client.transport.validation import read_text
from vyry.kernel.grouped_base32 import MistypedCode
from vyry.kernel.recovery_code import RECOVERY_CODE


ReadInput = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Proofs:
    """Sources of the code and, if the number is locked, of the PIN. `again`: whether a wrong one is requested again; it receives the error, which has `attempts_remaining`."""

    code: ReadInput
    pin: ReadInput | None = None
    again: Callable[[Refused], bool] = lambda _: False


async def sign_up(rest: RestClient, phone_number: str, name: str, proofs: Proofs) -> Body:
    """The session of a new primary device. The PIN is requested only if the node requires it. Raises Refused (INVALID_OTP, PIN_REQUIRED, INVALID_PIN, PIN_LOCKED ...), BadNumber, Unreachable."""
    device = {"name": name, "platform": "cli"}
    challenge = await rest.call_unauthenticated("POST", "/auth/request-otp", {"phoneNumber": read_number(phone_number)})
    with rest.validated_response():
        challenge_id = read_text(challenge["challengeId"])

    async def verify() -> Body:
        proof = {"challengeId": challenge_id, "otp": await proofs.code()}
        return await rest.call_unauthenticated("POST", "/auth/verify-otp", {**proof, "device": device})

    return await _unlock_if_required(rest, await _retry_proof(verify, proofs), device, proofs)


async def recover_account(rest: RestClient, account: Body, name: str, proofs: Proofs) -> Body:
    """The session of a new primary device, with another `recoveryCode`. `account`: its `username` or `userId`; `proofs.code` is the recovery code.

    Raises Refused (INVALID_RECOVERY_CODE, INVALID_PIN ...), MistypedRecoveryCode, Unreachable.
    """
    device = {"name": name, "platform": "cli"}

    async def verify() -> Body:
        proof = {**account, "recoveryCode": canonical_recovery_code(await proofs.code())}
        return await rest.call_unauthenticated("POST", "/auth/recover", {**proof, "device": device})

    return await _unlock_if_required(rest, await _retry_proof(verify, proofs), device, proofs)


def canonical_recovery_code(typed: str) -> str:
    """The code as it was shown, from the ways people type it. Raises MistypedRecoveryCode; then nothing was sent, and no attempt is used up."""
    try:
        return RECOVERY_CODE.encode(RECOVERY_CODE.decode(typed))
    except MistypedCode as problem:
        raise MistypedRecoveryCode(problem) from None


async def _unlock_if_required(rest: RestClient, session: Body, device: Body, proofs: Proofs) -> Body:
    """The session, after the PIN of a registration lock where there is one."""
    if not session.get("requiresPin"):
        return session
    read_pin = proofs.pin
    if read_pin is None:
        raise Refused(
            423,
            {
                "error_code": "PIN_REQUIRED",
                "error": "The registration lock of this account is on: enter the PIN of the account.",
            },
        )
    with rest.validated_response():
        token = read_text(session["registrationToken"], MAX_TOKEN)

    async def unlock() -> Body:
        proof = {"registrationToken": token, "pin": await read_pin()}
        return await rest.call_unauthenticated("POST", "/auth/unlock", {**proof, "device": device})

    return await _retry_proof(unlock, proofs)


async def _retry_proof(prove: Callable[[], Awaitable[Body]], proofs: Proofs) -> Body:
    while True:
        try:
            return await prove()
        except Refused as refused:
            if not proofs.again(refused):
                raise
