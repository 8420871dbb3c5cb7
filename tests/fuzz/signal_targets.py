"""Fuzz targets of the protocol's other decoders: whatever bytes come, what opens is what was sealed, what is read is written the same way, and the rest is refused by name."""

import hashlib
import json
import uuid
from collections.abc import Callable
from functools import cache
from typing import Final

from tests.support.protocol_devices import ProtocolDevice
from vyry.client.store.packing import pack, unpack
from vyry.signal_protocol.attachments import AttachmentOpener, AttachmentSealer
from vyry.signal_protocol.blobs import BlobKind, open_blob, seal_blob
from vyry.signal_protocol.contents import Content, read_content, write_object
from vyry.signal_protocol.frame import content_type
from vyry.signal_protocol.handshake import split_prekey_message
from vyry.signal_protocol.linking import LinkOffer, LinkSecrets
from vyry.signal_protocol.primitives import Address, DhPair
from vyry.signal_protocol.provisioning import Provisioning
from vyry.signal_protocol.refusals import Refusal
from vyry.signal_protocol.retries import Resync, Retry
from vyry.signal_protocol.sender_keys import Distribution, Generations, SenderKey, SenderKeyScope


CONVERSATION: Final = uuid.UUID(int=1)
TEXT: Final = b"what was said"
WHERE: Final = SenderKeyScope(CONVERSATION, Address(uuid.UUID(int=2), 1))
KEY: Final = bytes(range(32))
FILE: Final = bytes(range(256)) * 300
PROFILE: Final = {"name": "Ann"}

Open = Callable[[bytes], bytes]


@cache
def _messages() -> list[tuple[bytes, bytes, Open]]:
    """Sealed bytes of every kind, what is in them, and what opens them."""
    ann, bo = ProtocolDevice(), ProtocolDevice()
    first = ann.send(bo, TEXT)
    bo.receive(ann, first)
    ann.receive(bo, bo.send(ann, TEXT))
    cleo, dan, key = ProtocolDevice(), ProtocolDevice(), SenderKey.generate(WHERE)
    reader = Generations(WHERE).accept(key.distribution())
    new, approver = DhPair.generate(), DhPair.generate()
    offer = LinkOffer(CONVERSATION, new.public, KEY)
    here, there = (LinkSecrets.derive(offer, own, approver.public) for own in (new, approver))
    return [
        (cleo.send(dan, TEXT), TEXT, lambda content: dan.open(cleo, content).plaintext),
        (ann.send(bo, TEXT), TEXT, lambda content: bo.open(ann, content).plaintext),
        (key.seal(TEXT)[1], TEXT, lambda content: reader.open(content)[1]),
        (there.seal(TEXT), TEXT, here.open),
        (seal_blob(KEY, BlobKind.PROFILE, PROFILE), write_object(PROFILE), _open_profile),
        (_sealed_file()[0], FILE, _open_file),
    ]


def _open_profile(sealed: bytes) -> bytes:
    return write_object(open_blob(KEY, BlobKind.PROFILE, sealed))


def sealed_message(raw: bytes) -> None:
    """Something sealed with some bytes changed: nothing but what was sealed opens.

    The first byte chooses what; then four bytes each: where (two), what to XOR, and whether to cut there.
    """
    sealed, inside, act = _messages()[raw[0] % len(_messages())] if raw else _messages()[0]
    spoiled = sealed
    for at in range(1, len(raw) - 3, 4):
        place = int.from_bytes(raw[at : at + 2]) % max(1, len(spoiled))
        if raw[at + 3] >= 0xC0:
            spoiled = spoiled[:place]
        elif spoiled:
            spoiled = spoiled[:place] + bytes([spoiled[place] ^ raw[at + 2]]) + spoiled[place + 1 :]
    try:
        found = act(spoiled)
    except Refusal:
        assert spoiled != sealed
        return
    assert (spoiled, found) == (sealed, inside)


def foreign_content(raw: bytes) -> None:
    """Bytes of a stranger: never opened, whatever they look like."""
    for read in (content_type, split_prekey_message):
        try:
            read(raw)
        except Refusal:
            continue
    for _, _, act in _messages():
        try:
            act(raw)
        except Refusal:
            continue
        raise AssertionError("opened")


def provisioning(raw: bytes) -> None:
    """What linking hands over: read, packed and read again it is the same."""
    try:
        found = Provisioning.read(raw)
    except Refusal:
        return
    assert Provisioning.read(found.pack()) == found


def kept_content(raw: bytes) -> None:
    """A content that was read can be said again, and kept by a client, whatever is in it; of its kind it has all, or it is refused."""
    try:
        found = read_content(raw, CONVERSATION)
    except Refusal:
        return
    assert read_content(found.pack(), CONVERSATION) == found
    assert unpack(Content, pack(found)).pack() == found.pack()
    for kind in (Retry, Resync, Distribution):
        try:
            said = kind.read(found)
        except Refusal:
            continue
        assert kind.read(Content(found.kind, found.id, found.at, CONVERSATION, said.fields())) == said
        assert json.loads(json.dumps(said.fields())).items() <= json.loads(json.dumps(found.fields)).items()


@cache
def _sealed_file() -> tuple[bytes, bytes]:
    sealer = AttachmentSealer(KEY)
    blob = b"".join([*sealer.update(FILE), *sealer.finish()])
    return blob, sealer.digest


def _open_file(blob: bytes) -> bytes:
    """In pieces whose size the bytes choose; nothing is opened before its piece is whole."""
    opener = AttachmentOpener(KEY, len(FILE), _sealed_file()[1])
    step = 1_000 + int.from_bytes(hashlib.sha256(blob).digest()[:2])
    found = b"".join(part for at in range(0, len(blob), step) for part in opener.update(blob[at : at + step]))
    opener.finish()
    return found
