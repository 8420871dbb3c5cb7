"""Devices of the vyry suite in small: kept prekeys in dictionaries, and a client that stores what an act returns, and only when it returned."""

from dataclasses import dataclass, field, replace

from tests.support.protocol_sessions import DeviceWithPrekeys, make_device
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey
from vyry.signal_protocol.primitives import Address, DhPair, KemPair
from vyry.signal_protocol.sessions import IncomingContent, Opened, PrekeyProvider, Sessions


@dataclass
class MemoryPrekeys:
    """The prekeys of a device in dictionaries; what a handshake used up goes."""

    owner: DeviceWithPrekeys
    once: dict[int, DhPrekey] = field(default_factory=dict)
    kem: dict[int, KemPrekey] = field(default_factory=dict)
    replays: set[bytes] = field(default_factory=set)
    last_resort: KemPrekey = field(default_factory=lambda: KemPrekey(1, KemPair.generate(), is_last_resort=True))

    def signed_prekey(self, prekey_id: int) -> DhPrekey | None:
        mine = self.owner.prekeys.signed
        return mine if mine.id == prekey_id else None

    def one_time_prekey(self, prekey_id: int) -> DhPrekey | None:
        return self.once.get(prekey_id)

    def pq_prekey(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        return self.last_resort if is_last_resort else self.kem.get(prekey_id)

    def has_answered(self, transcript: bytes) -> bool:
        return transcript in self.replays

    def bundle(self, number: int, *, one_time: bool = True) -> Bundle:
        """As the node hands out keys number `number`."""
        base = self.owner.bundle()
        if not one_time:
            pq = self.last_resort.publish(self.owner.device)
            return replace(base, one_time_prekey=None, pq_prekey=pq, pq_is_last_resort=True)
        self.once[number], self.kem[number] = DhPrekey(number, DhPair.generate()), KemPrekey(number, KemPair.generate())
        pq = self.kem[number].publish(self.owner.device)
        return replace(base, one_time_prekey=self.once[number].unsigned(), pq_prekey=pq)


class ProtocolDevice:
    """A client in small: it stores what an act returns, and only when it returned."""

    def __init__(self) -> None:
        self.person = make_device()
        self.kept = MemoryPrekeys(self.person)
        self.sessions = Sessions()
        self.identity: bytes | None = None
        self.now = 0

    @property
    def address(self) -> Address:
        return self.person.address

    def send(self, to: "ProtocolDevice", text: bytes, *, one_time: bool = True) -> bytes:
        if self.sessions.needs_bundle(self.now):
            bundle = to.kept.bundle(len(to.kept.once) + 100 + self.now, one_time=one_time)
            self.sessions = self.sessions.begin(self.person.device, bundle, self.now)
        self.sessions, content = self.sessions.seal(text)
        return content

    def receive(self, sender: "ProtocolDevice", content: bytes) -> bytes:
        return self.store(self.open(sender, content))

    def open(self, sender: "ProtocolDevice", content: bytes) -> Opened:
        arrival = IncomingContent(sender.address, content, self.now, self.identity)
        keeper: PrekeyProvider = self.kept
        return self.sessions.open(self.person.device, arrival, keeper)

    def store(self, opened: Opened) -> bytes:
        self.sessions = opened.sessions
        if (answered := opened.answered) is not None:
            self.identity = answered.peer.identity_key
            self.kept.once.pop(answered.one_time_prekey_id, None)
            if not answered.pq_is_last_resort:
                self.kept.kem.pop(answered.pq_prekey_id, None)
            if answered.replay is not None:
                self.kept.replays.add(answered.replay)
        return opened.plaintext
