"""vodozemac 0.10.0 (Olm and Megolm in Rust, Apache-2.0; the Python bindings are MIT). Olm has no post-quantum part."""

import json
import sys

from vodozemac import Account, GroupSession, InboundGroupSession  # type: ignore[import-not-found, unused-ignore]

from bench.peers.rate import TEXT, calls_per_second


class Pair:
    """Two accounts in one session."""

    def __init__(self) -> None:
        self.ann, self.bo = Account(), Account()
        self.establish_session()

    def establish_session(self) -> None:
        """A handshake, both sides of it, and a first message; the one-time key is made as the bundle of others is: before."""
        self.bo.generate_one_time_keys(1)
        [one_time] = self.bo.one_time_keys.values()
        self.bo.mark_keys_as_published()
        self.here = self.ann.create_outbound_session(self.bo.curve25519_key, one_time)
        first = self.here.encrypt(TEXT)
        self.there, _ = self.bo.create_inbound_session(self.ann.curve25519_key, first.to_pre_key())

    def one_way(self) -> None:
        """A message in a chain."""
        self.there.decrypt(self.here.encrypt(TEXT))

    def turn(self) -> None:
        """A message that turns the ratchet."""
        self.here.decrypt(self.there.encrypt(TEXT))
        self.here, self.there = self.there, self.here


class Group:
    """One who says and one who reads."""

    def __init__(self) -> None:
        self.key = GroupSession()
        self.reader = InboundGroupSession(self.key.session_key)

    def say(self) -> None:
        """A message to all, read by one."""
        self.reader.decrypt(self.key.encrypt(TEXT))


def main(seconds: float) -> None:
    """Measure and print."""
    pair, group = Pair(), Group()
    pair.turn()
    found = {
        "one way": calls_per_second(pair.one_way, seconds),
        "turns": calls_per_second(pair.turn, seconds),
        "group": calls_per_second(group.say, seconds),
        "handshakes": calls_per_second(pair.establish_session, seconds),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]))
