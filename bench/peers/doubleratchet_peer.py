"""DoubleRatchet 1.3.0 (MIT; the library under python-omemo), with its recommended parts. It has no group messages."""

import asyncio
import json
import sys

from doubleratchet import DoubleRatchet as Ratchet  # type: ignore[import-not-found, unused-ignore]
from doubleratchet import EncryptedMessage, Header
from doubleratchet.recommended import (  # type: ignore[import-not-found, unused-ignore]
    HashFunction,
    aead_aes_hmac,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)

from bench.peers.rate import TEXT, awaits_per_second


class Session(Ratchet):  # type: ignore[misc, unused-ignore]
    """What the library leaves to its users."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Header) -> bytes:
        numbers = header.previous_sending_chain_length.to_bytes(4, "big") + header.sending_chain_length.to_bytes(
            4, "big"
        )
        return bytes(associated_data + header.ratchet_pub + numbers)


class Root(kdf_hkdf.KDF):  # type: ignore[misc, unused-ignore]
    """Root chain."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"root"


class Messages(kdf_separate_hmacs.KDF):  # type: ignore[misc, unused-ignore]
    """Message chains."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class Seal(aead_aes_hmac.AEAD):  # type: ignore[misc, unused-ignore]
    """Messages."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"message"


class Curve(diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet):  # type: ignore[misc, unused-ignore]
    """Turns."""


class Pair:
    """Two sides."""

    async def establish_session(self) -> None:
        """Begin, without a handshake: the library has none."""
        own = Curve._generate_priv()  # noqa: SLF001  what a subclass is given
        parts = (Curve, Root, Messages, b"\x01\x02", 1_000, 2_000, Seal)
        secret = bytes(32)
        public = Curve._derive_pub(own)  # noqa: SLF001  the same
        self.here, first = await Session.encrypt_initial_message(*parts, secret, public, TEXT, b"ad")
        self.there, _ = await Session.decrypt_initial_message(*parts, secret, own, first, b"ad")

    async def one_way(self) -> None:
        """A message in a chain."""
        message: EncryptedMessage = await self.here.encrypt_message(TEXT, b"ad")
        await self.there.decrypt_message(message, b"ad")

    async def turn(self) -> None:
        """A message that turns the ratchet."""
        message: EncryptedMessage = await self.there.encrypt_message(TEXT, b"ad")
        await self.here.decrypt_message(message, b"ad")
        self.here, self.there = self.there, self.here


async def main(seconds: float) -> None:
    """Measure and print."""
    pair = Pair()
    await pair.establish_session()
    found = {
        "one way": await awaits_per_second(pair.one_way, seconds),
        "turns": await awaits_per_second(pair.turn, seconds),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
