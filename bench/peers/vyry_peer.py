"""vyry.signal_protocol, as values alone, and as the SDK uses it: each state packed and unpacked around each act."""

import json
import sys
from collections.abc import Callable
from uuid import uuid4

from bench.peers.rate import TEXT, calls_per_second
from vyry.client.store.packing import pack, unpack
from vyry.signal_protocol.handshake import Prefix, Prekeys, answer, begin
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey, OwnDevice
from vyry.signal_protocol.primitives import Address, DhPair, KemPair, SigningPair
from vyry.signal_protocol.ratchet import Ratchet
from vyry.signal_protocol.sender_keys import Generations, SenderKey, SenderKeyScope


def device() -> OwnDevice:
    """Somebody."""
    return OwnDevice(Address(uuid4(), 1), 7, SigningPair.generate(), DhPair.generate())


class Pair:
    """Two devices in one session."""

    def __init__(self) -> None:
        self.ann, bo = device(), device()
        self.bo = bo
        self.keys = Prekeys(
            DhPrekey(1, DhPair.generate()), DhPrekey(2, DhPair.generate()), KemPrekey(3, KemPair.generate())
        )
        keys = self.keys
        assert keys.one_time is not None
        published = keys.signed.publish(bo), keys.one_time.unsigned(), keys.pq.publish(bo)
        self.bundle = Bundle(
            bo.address, 7, bo.identity.public, bo.dh.public, bo.dh_signature(), *published, pq_is_last_resort=False
        )
        self.here, self.there = self.establish_session()

    def establish_session(self) -> tuple[Ratchet, Ratchet]:
        """A handshake, both sides of it, and a first message."""
        prefix, begun = begin(self.ann, self.bundle)
        answered = answer(self.bo, self.ann.address, Prefix.unpack(prefix.pack()), self.keys)
        here = Ratchet.initiator(begun, self.keys.signed.pair.public)
        here, content = here.seal(TEXT)
        there, _ = Ratchet.responder(answered, self.keys.signed.pair).open(content)
        return here, there

    def one_way(self) -> None:
        """A message in a chain."""
        self.here, content = self.here.seal(TEXT)
        self.there, _ = self.there.open(content)

    def turn(self) -> None:
        """A message that turns the ratchet: the next one goes the other way."""
        self.there, content = self.there.seal(TEXT)
        self.here, _ = self.here.open(content)
        self.here, self.there = self.there, self.here

    def packed(self, act: Callable[[], None]) -> None:
        """The same with both states as bytes in between."""
        self.here, self.there = unpack(Ratchet, pack(self.here)), unpack(Ratchet, pack(self.there))
        act()


class Group:
    """One who says and one who reads."""

    def __init__(self) -> None:
        where = SenderKeyScope(uuid4(), Address(uuid4(), 1))
        self.key = SenderKey.generate(where)
        self.reader = Generations(where).accept(self.key.distribution())

    def say(self) -> None:
        """A message to all, read by one."""
        self.key, content = self.key.seal(TEXT)
        self.reader, _ = self.reader.open(content)

    def packed(self) -> None:
        """The same with both states as bytes in between."""
        self.key, self.reader = unpack(SenderKey, pack(self.key)), unpack(Generations, pack(self.reader))
        self.say()


def main(seconds: float, *, is_packed: bool) -> None:
    """Measure and print."""
    pair, group = Pair(), Group()
    found = {
        "one way": calls_per_second((lambda: pair.packed(pair.one_way)) if is_packed else pair.one_way, seconds),
        "turns": calls_per_second((lambda: pair.packed(pair.turn)) if is_packed else pair.turn, seconds),
        "group": calls_per_second(group.packed if is_packed else group.say, seconds),
    }
    if not is_packed:
        found["handshakes"] = calls_per_second(pair.establish_session, seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]), is_packed="packed" in sys.argv[2:])
