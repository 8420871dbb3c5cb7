"""Signing up: a code sent to a number, and for the right code an account and its new primary device."""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final
from uuid import UUID

from vyry.accounts.account import AccountStore, NewDevice, Platform
from vyry.accounts.door import Door
from vyry.accounts.otp import Channel, Guess, OneTimeCodes, Purpose, SentCode
from vyry.accounts.phone import read_number
from vyry.accounts.standings import Endings
from vyry.accounts.tokens import TokenPair, Tokens
from vyry.ids import DeviceId, MailboxId, UserId, new_id


#: A fresh device starts with the sessions of this generation.
FIRST_GENERATION: Final = 1
_NETWORK_BITS: Final = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for a code: the client's address, and the proof it shows (docs/protocol.md, "Proof")."""

    address: str
    proof: str | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A device just signed up."""

    tokens: TokenPair
    user_id: UserId
    device_id: DeviceId
    is_new_user: bool
    requires_profile_setup: bool


def network_of(address: str) -> str:
    """The /24 or /64 that an address belongs to: what one party is counted by."""
    found = ip_address(address.partition("%")[0])
    return str(ip_network((found, _NETWORK_BITS[found.version]), strict=False))


class Registration:
    """The way into the node."""

    def __init__(
        self, codes: OneTimeCodes, accounts: AccountStore, tokens: Tokens, endings: Endings, door: Door
    ) -> None:
        self._codes = codes
        self._accounts = accounts
        self._tokens = tokens
        self._endings = endings
        self._door = door

    async def request_otp(self, phone_number: str, purpose: Purpose, channel: Channel, asking: Asking) -> SentCode:
        """Send a code, whether the number is known or not. Raises InvalidRequest, RateLimited, Unavailable."""
        number = read_number(phone_number)
        await self._door.admit(asking.proof, number, asking.address)
        return await self._codes.send(number, purpose, channel, network_of(asking.address))

    async def verify_otp(self, challenge_id: UUID, otp: str, name: str, platform: Platform) -> NewSession:
        """Sign up with the right code: all other devices of the account end. Raises InvalidOtp, Unavailable."""
        guess = await self._codes.redeem(challenge_id, Purpose.LOGIN, otp)
        return await self._sign_up(guess, name, platform)

    async def _sign_up(self, guess: Guess, name: str, platform: Platform) -> NewSession:
        """Everything that follows once the number is proven; a registration lock is to be passed before this."""
        refresh = self._tokens.fresh()
        device = NewDevice(
            new_id(),
            MailboxId(new_id()),
            name,
            platform,
            refresh.hash,
            refresh.expires_at,
            refresh.family_ends_at,
        )
        number = self._codes.hidden(guess.phone_sealed)
        made = await self._accounts.sign_up(number, device, self._tokens.clock.now())
        await self._endings.tell(made.ended)
        pair = self._tokens.pair(made.user_id, device.device, FIRST_GENERATION, refresh.text, refresh.expires_at)
        return NewSession(pair, made.user_id, made.device_id, made.is_new_user, not made.has_display_name)
