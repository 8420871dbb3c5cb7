"""What somebody has to show before a code is sent: nothing, a proof of work, or the proof of another service (a captcha) that a webhook judges.

The proof stands in the header `X-Vyry-Proof`, and is asked for before anything is counted or looked up.
"""

from datetime import timedelta
from hashlib import sha256
from typing import Final, Protocol

from vyry.accounts.phone import PhoneNumber
from vyry.clock import Clock
from vyry.errors import InvalidRequest


PROOF_HEADER: Final = "X-Vyry-Proof"
#: How far a proof's time and the node's may be apart. Within it a proof serves its number again, which has a pace of its own.
PROOF_MAX_AGE: Final = timedelta(minutes=5)
_LONGEST: Final = 100


class SignupGuard(Protocol):
    """Decides who may ask for a code."""

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:
        """Pass if the proof does. Raises InvalidRequest, or Unavailable if that cannot be known."""
        ...


class NoGuard:
    """Asks nobody for anything."""

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:
        """Pass."""


class ProofOfWork:
    """Asks for work: a text SECONDS:NONCE (seconds since 1970, any nonce) for which SHA-256 of `vyry proof 1:NUMBER:SECONDS:NONCE` begins with `bits` zeros."""

    def __init__(self, bits: int, clock: Clock) -> None:
        self._bits = bits
        self._clock = clock

    async def check_proof(self, proof: str | None, number: PhoneNumber, address: str) -> None:  # noqa: ARG002  the port's
        """Pass if the work was done for this number, and lately."""
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
    """The refusal of whoever has no good proof; it says what is asked for."""
    return InvalidRequest(fields=[{"field": PROOF_HEADER, "problem": problem}])
