"""The attacker: real keys, shown under any address the node likes. What is sealed for them is opened with the protocol's own code, and kept: a test asks whether a text is among it.

The only place of the proxy that knows the protocol of the suite `vyry`.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from tests.hostile_node.wire import Body
from tests.support.chain_checker import to_bytes
from tests.support.device_keys import base64_text
from vyry.signal_protocol.contents import Content, read_content
from vyry.signal_protocol.keys import Bundle, DhPrekey, KemPrekey, OwnDevice, PublicPrekey
from vyry.signal_protocol.primitives import Address, DhPair, KemPair, SigningPair
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.sender_keys import Distribution, Generations, SenderKey, SenderKeyScope
from vyry.signal_protocol.sessions import IncomingContent, Sessions


@dataclass(frozen=True, slots=True)
class Sealed:
    """One copy of what the client posted."""

    sender: Address
    recipient: Address
    conversation_id: UUID
    message_id: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """What came out of it, and under which address the attacker opened it."""

    address: Address
    message_id: str
    plaintext: bytes


class AttackerDevice:
    """A device of the attacker's under one address: a Keeper of its own prekeys, which are used again and again."""

    def __init__(self, address: Address, identity: SigningPair) -> None:
        self.own = OwnDevice(address, 4711 + address.device_id, identity, DhPair.generate())
        self._signed = DhPrekey(1, DhPair.generate())
        self._last = KemPrekey(1, KemPair.generate(), is_last_resort=True)
        self._sessions: dict[Address, Sessions] = {}
        self._generations: dict[SenderKeyScope, Generations] = {}

    def signed_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See Keeper."""
        return self._signed if prekey_id == self._signed.id else None

    def one_time_prekey(self, prekey_id: int) -> DhPrekey | None:
        """See Keeper."""
        return None

    def pq_prekey(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        """See Keeper."""
        return self._last if is_last_resort and prekey_id == self._last.id else None

    def has_answered(self, transcript: bytes) -> bool:
        """See Keeper."""
        return False

    def listed(self) -> Body:
        """As a list of devices shows it."""
        return {
            "deviceId": self.own.address.device_id,
            "registrationId": self.own.registration_id,
            "identityDhKey": base64_text(self.own.dh.public),
            "identityDhSignature": base64_text(self.own.dh_signature()),
        }

    def bundle(self) -> Body:
        """As a claim gives it."""
        return {
            **self.listed(),
            "suite": "vyry",
            "identityKey": base64_text(self.own.identity.public),
            "signedPrekey": _published(self._signed.publish(self.own)),
            "oneTimePrekey": None,
            "pqPrekey": _published(self._last.publish(self.own)),
            "pqPrekeyIsLastResort": True,
        }

    def open(self, sealed: Sealed) -> bytes | None:
        """What was in it, if these keys open it."""
        with suppress(Refusal):
            if sealed.content[1] == 3:
                where = SenderKeyScope(sealed.conversation_id, sealed.sender)
                self._generations[where], plaintext = self._told(where).open(sealed.content)
                return plaintext
            now = time.time_ns() // 1_000_000
            arrival = IncomingContent(sealed.sender, sealed.content, now)
            opened = self._sessions.get(sealed.sender, Sessions()).open(self.own, arrival, self)
            self._sessions[sealed.sender] = opened.sessions
            self._learn(sealed, opened.plaintext)
            return opened.plaintext
        return None

    def begin_session(self, peer: Address, upload: Body) -> None:
        """Have a session with a device whose keys were seen on their way to the node: the one that there is, or a new one."""
        sessions = self._sessions.get(peer, Sessions())
        if sessions.active is None:
            now = time.time_ns() // 1_000_000
            self._sessions[peer] = sessions.begin(self.own, bundle_of(peer, upload), now)

    def seal(self, peer: Address, plaintext: bytes) -> bytes:
        """For that device, in the session that there is."""
        self._sessions[peer], content = self._sessions[peer].seal(plaintext)
        return content

    def sender_key(self, conversation_id: UUID) -> SenderKey:
        """A sender key of this device's."""
        return SenderKey.generate(SenderKeyScope(conversation_id, self.own.address))

    def _told(self, where: SenderKeyScope) -> Generations:
        return self._generations.get(where, Generations(where))

    def _learn(self, sealed: Sealed, plaintext: bytes) -> None:
        with suppress(Refusal):
            content = read_content(plaintext, sealed.conversation_id)
            if content.kind == Distribution.KIND:
                where = SenderKeyScope(sealed.conversation_id, sealed.sender)
                self._generations[where] = self._told(where).accept(Distribution.read(content))


class Mallory:
    """All faces of the attacker, and everything they opened."""

    def __init__(self) -> None:
        self.user_id = uuid4()
        self.identity = SigningPair.generate()
        self.faces: dict[Address, AttackerDevice] = {}
        self.posted: list[Sealed] = []
        self.opened: list[Opened] = []

    @property
    def address(self) -> Address:
        """Where they are as nobody but themselves."""
        return Address(self.user_id, 1)

    def device_at(self, address: Address | None = None) -> AttackerDevice:
        """Their device at this address; the same one each time."""
        address = address or self.address
        return self.faces.setdefault(address, AttackerDevice(address, self.identity))

    def record_copy(self, sealed: Sealed) -> None:
        """Keep what was posted, and open it if any key fits."""
        self.posted.append(sealed)
        face = self.faces.get(sealed.recipient)
        plaintext = face.open(sealed) if face else None
        if plaintext is not None:
            self.opened.append(Opened(sealed.recipient, sealed.message_id, plaintext))

    def has_read(self, marker: str) -> bool:
        """Whether this text is among what was opened."""
        return any(marker.encode() in each.plaintext for each in self.opened)


def make_content(kind: str, conversation_id: UUID, fields: Body) -> bytes:
    """A content of the attacker's."""
    return Content(kind, uuid4(), time.time_ns() // 1_000_000, conversation_id, fields).pack()


def bundle_of(address: Address, upload: Body) -> Bundle:
    """A bundle of what a device published itself, without its one-time keys: those are handed out by the real node."""
    return Bundle(
        address,
        upload["registrationId"],
        to_bytes(upload["identityKey"]),
        to_bytes(upload["identityDhKey"]),
        to_bytes(upload["identityDhSignature"]),
        _prekey(upload["signedPrekey"]),
        None,
        _prekey(upload["pqLastResort"]),
        True,
    )


def _prekey(said: Body) -> PublicPrekey:
    return PublicPrekey(said["id"], to_bytes(said["key"]), to_bytes(said["signature"]))


def _published(prekey: PublicPrekey) -> Body:
    body: dict[str, Any] = {"id": prekey.id, "key": base64_text(prekey.key)}
    return body if prekey.signature is None else {**body, "signature": base64_text(prekey.signature)}
