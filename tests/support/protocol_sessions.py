"""Two devices of the vyry suite with fresh keys, and a session between them."""

from dataclasses import dataclass
from uuid import uuid4

from vyry.signal_protocol.handshake import Handshake, Prefix, Prekeys, answer, begin
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey, OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, KemPair, SigningPair
from vyry.signal_protocol.ratchet import Ratchet


@dataclass(frozen=True)
class DeviceWithPrekeys:
    """A device and its kept prekeys."""

    device: OwnDevice
    prekeys: Prekeys

    @property
    def address(self) -> Address:
        return self.device.address

    def bundle(self) -> Bundle:
        """What the node gives to those who claim."""
        keys, own = self.prekeys, self.device
        return Bundle(
            own.address,
            own.registration_id,
            own.identity.public,
            own.dh.public,
            own.dh_signature(),
            keys.signed.publish(own),
            keys.one_time.unsigned() if keys.one_time else None,
            keys.pq.publish(own),
            keys.pq.is_last_resort,
        )


def make_device(device_id: int = 1, *, one_time: bool = True, is_last_resort: bool = False) -> DeviceWithPrekeys:
    device = OwnDevice(Address(uuid4(), device_id), 77, SigningPair.generate(), DhPair.generate())
    once = DhPrekey(2, DhPair.generate()) if one_time else None
    return DeviceWithPrekeys(
        device, Prekeys(DhPrekey(1, DhPair.generate()), once, KemPrekey(3, KemPair.generate(), is_last_resort))
    )


def establish_session(alice: DeviceWithPrekeys, bob: DeviceWithPrekeys) -> tuple[Prefix, Handshake, Handshake]:
    """Alice begins, Bob answers."""
    prefix, begun = begin(alice.device, bob.bundle())
    return prefix, begun, answer(bob.device, alice.address, Prefix.unpack(prefix.pack()), bob.prekeys)


def make_session_pair() -> tuple[Ratchet, Ratchet]:
    """Both sides of a fresh session."""
    alice, bob = make_device(), make_device()
    _, begun, answered = establish_session(alice, bob)
    signed = bob.prekeys.signed.pair
    return Ratchet.initiator(begun, signed.public), Ratchet.responder(answered, signed)
