"""The devices of a case of `sessions`: their keys, and what each holds about the one address that it talks to."""

from collections.abc import Callable

from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey
from vyry.signal_protocol.primitives import DhPair, KemPair
from vyry.signal_protocol.sessions import IncomingContent, PeerDevice, Sessions
from vyry.signal_protocol.vector_values import Value, device_of, octets


class CaseDevice:
    """A device of a case, as the case gives it."""

    def __init__(self, given: Value) -> None:
        self.own = device_of(given)
        self.sessions = Sessions()
        self.identity_key: bytes | None = None
        self.listed: PeerDevice | None = None
        self._signed = DhPrekey(
            given["signedPrekey"]["id"], DhPair.from_private(octets(given["signedPrekey"]["private"]))
        )
        self._once = {each["id"]: _one_time(each) for each in given["oneTimePrekeys"]}
        self._kem = {(each["id"], each["isLastResort"]): _kem(each) for each in given["pqPrekeys"]}
        self._replays: set[bytes] = set()

    def peer(self) -> PeerDevice:
        """As a verified list has it."""
        return PeerDevice(self.own.identity.public, self.own.dh.public, self.own.registration_id)

    def bundle(self, step: Value) -> Bundle:
        """As the node hands out the keys that a step names."""
        own, number = self.own, step["oneTimePrekey"]
        pq = self._kem[step["pqPrekey"], step["isLastResort"]]
        published = (own.identity.public, own.dh.public, own.dh_signature(), self._signed.publish(own))
        one_time = None if number is None else self._once[number].unsigned()
        return Bundle(own.address, own.registration_id, *published, one_time, pq.publish(own), pq.is_last_resort)

    def signed_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See Keeper."""
        return self._signed if self._signed.id == prekey_id else None

    def one_time_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See Keeper."""
        return self._once.get(prekey_id)

    def pq_prekey(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        """See Keeper."""
        return self._kem.get((prekey_id, is_last_resort))

    def has_answered(self, transcript: bytes) -> bool:
        """See Keeper."""
        return transcript in self._replays

    def open(self, arrival: IncomingContent, fresh: Callable[[], DhPair]) -> tuple[bytes, bytes]:
        """Open a content and keep what comes out of it; answers session id and plaintext."""
        opened = self.sessions.open(self.own, arrival, self, fresh=fresh)
        self.sessions = opened.sessions
        answered = opened.answered
        if answered is not None:
            self.identity_key = self.identity_key or answered.peer.identity_key
            self._once.pop(answered.one_time_prekey_id, None)
            if not answered.pq_is_last_resort:
                self._kem.pop((answered.pq_prekey_id, False), None)
            if answered.replay is not None:
                self._replays.add(answered.replay)
        return opened.session_id, opened.plaintext


def _one_time(given: Value) -> DhPrekey:
    return DhPrekey(given["id"], DhPair.from_private(octets(given["private"])))


def _kem(given: Value) -> KemPrekey:
    return KemPrekey(given["id"], KemPair.from_seed(octets(given["seed"])), given["isLastResort"])
