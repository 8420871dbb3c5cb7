"""Sign-up: the node sends a one-time code to a number, and exchanges it for a session of a new primary device."""

from dataclasses import dataclass
from uuid import UUID

from vyry.accounts.account import Platform
from vyry.accounts.otp import Channel, OneTimeCodes, Purpose, SentCode
from vyry.accounts.phone import read_number
from vyry.accounts.signup import NewSession, PinChallenge, Signup
from vyry.accounts.signup_guard import SignupGuard
from vyry.limits import network_prefix


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """The client that requests a code: its address, and its proof (docs/protocol.md, "Proof")."""

    address: str
    proof: str | None = None


class Registration:
    """Requests and redeems sign-up codes."""

    def __init__(self, codes: OneTimeCodes, signup_guard: SignupGuard, signup: Signup) -> None:
        self._codes = codes
        self._signup_guard = signup_guard
        self._signup = signup

    async def request_otp(
        self, phone_number: str, purpose: Purpose, channel: Channel, origin: RequestOrigin
    ) -> SentCode:
        """Send a code, whether or not the number has an account. Raises InvalidRequest, RateLimited, Unavailable."""
        number = read_number(phone_number)
        await self._signup_guard.check_proof(origin.proof, number, origin.address)
        return await self._codes.send(number, purpose, channel, network_prefix(origin.address))

    async def verify_otp(
        self, challenge_id: UUID, otp: str, name: str, platform: Platform
    ) -> NewSession | PinChallenge:
        """Sign up with a code, which ends all other devices of the account; returns a PinChallenge if the registration lock is on. Raises InvalidOtp, Forbidden, Unavailable."""
        guess = await self._codes.redeem(challenge_id, Purpose.LOGIN, otp)
        return await self._signup.sign_up(self._codes.reseal(guess.phone_sealed), name, platform)

    async def unlock(self, token: str, pin: str, name: str, platform: Platform) -> NewSession:
        """Complete a sign-up at the registration lock with the PIN. Raises InvalidToken, InvalidPin, PinLocked, PinRequired, Forbidden, Unavailable."""
        return await self._signup.unlock(token, pin, name, platform)
