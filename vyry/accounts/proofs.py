"""Proofs of the owner for what a session alone may not do: delete the account, or replace a forgotten PIN."""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from vyry.accounts.account import Caller
from vyry.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class CodeProof:
    """A one-time code that was sent to the number of the account."""

    challenge_id: UUID
    otp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecoveryProof:
    """The recovery code of the account. It stays valid."""

    code: str = field(repr=False)


class RecoveryCheck(Protocol):
    """Checks recovery codes."""

    async def check(self, caller: Caller, code: str) -> None:
        """Check the recovery code of the caller's own account. Raises InvalidRecoveryCode, RateLimited."""
        ...


def no_number_error() -> InvalidRequest:
    """The error for a one-time code of an account that has no number to send one to."""
    return InvalidRequest(
        fields=[{"field": "recoveryCode", "problem": "is required: this account has no phone number"}]
    )


def missing_code_error() -> InvalidRequest:
    """The error for a request without a proof, of an account with a number."""
    return InvalidRequest(fields=[{"field": name, "problem": "is required"} for name in ("challengeId", "otp")])


def read_proof(
    challenge_id: UUID | None, otp: str | None, recovery_code: str | None
) -> CodeProof | RecoveryProof | None:
    """The proof of a request; None if it has none. Raises InvalidRequest for two proofs, or half of one."""
    if recovery_code is not None:
        if challenge_id is not None or otp is not None:
            raise InvalidRequest(fields=[{"field": "recoveryCode", "problem": "is given beside challengeId or otp"}])
        return RecoveryProof(recovery_code)
    if challenge_id is None and otp is None:
        return None
    if challenge_id is None or otp is None:
        missing = "otp" if otp is None else "challengeId"
        raise InvalidRequest(fields=[{"field": missing, "problem": "is required"}])
    return CodeProof(challenge_id, otp)
