"""The proof that a request for a sign-up code needs: none, a proof of work, or a token (a captcha) that a webhook verifies.

The proof is in the header `X-Vyry-Proof`, and is verified before anything is counted or looked up.
"""

from datetime import timedelta
from hashlib import sha256
from typing import Final, Protocol

from vyry.accounts.phone import PhoneNumber
from vyry.clock import Clock
from vyry.errors import InvalidRequest


PROOF_HEADER: Final = "X-Vyry-Proof"
#: How far the time of a proof may differ from the node's. Within it a proof can be reused for its number, which has a rate limit of its own.
PROOF_MAX_AGE: Final = timedelta(minutes=5)
_LONGEST: Final = 100


class SignupGuard(Protocol):
    """Verifies the proof of a request for a code."""

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:
        """Return if the proof is valid. Raises InvalidRequest, or Unavailable if it cannot be verified."""
        ...


class NoGuard:
    """Requires no proof."""

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:
        """Pass."""


class ProofOfWork:
    """Requires a proof of work: a text SECONDS:NONCE (seconds since 1970, any nonce) for which SHA-256 of `vyry proof 1:NUMBER:SECONDS:NONCE` begins with `bits` zero bits."""

    def __init__(self, bits: int, clock: Clock) -> None:
        self._bits = bits
        self._clock = clock

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:  # noqa: ARG002  the protocol's
        """Return if the proof is for this number and not older than PROOF_MAX_AGE."""
        seconds = (proof or "").partition(":")[0]
        is_dated = seconds.isascii() and seconds.isdigit() and len(proof or "") <= _LONGEST
        age = abs(self._clock.now().timestamp() - int(seconds)) if is_dated else PROOF_MAX_AGE.total_seconds() + 1
        if age > PROOF_MAX_AGE.total_seconds() or leading_zero_bits(number, proof or "") < self._bits:
            raise invalid_proof(f"needs a proof of work of {self._bits} bits for this number, not older than 5 minutes")


def leading_zero_bits(number: PhoneNumber, proof: str) -> int:
    """How many zero bits the hash of this proof begins with."""
    digest = sha256(f"vyry proof 1:{number.e164}:{proof}".encode(errors="replace")).digest()
    return 8 * len(digest) - int.from_bytes(digest).bit_length()


def invalid_proof(problem: str) -> InvalidRequest:
    """The error for a missing or invalid proof, with the requirement."""
    return InvalidRequest(fields=[{"field": PROOF_HEADER, "problem": problem}])
