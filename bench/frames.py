"""`python -m bench.frames`: what reading and writing one frame costs on one core, in microseconds of processor time: the plain path beside the fast one.

The plain path reads a value and gives it to a pydantic shape, or writes a dictionary with orjson or msgpack. Both take their turn in each round.
"""

import secrets
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import msgpack
import orjson

from bench.tables import spread, table
from vyry.kernel.ids import MailboxKey, MessageId, envelope_id
from vyry.kernel.time import from_milliseconds
from vyry.mail.envelope import Envelope
from vyry.mail.posting import Accepted
from vyry.mail.store import Entry
from web.bodies import validate
from web.live.codec import CODECS, Codec
from web.websocket_frames import write_frame
from web.wire.mailbox import Acknowledge, wire_entries
from web.wire.messages import Post, accepted_payload
from web.wire.shapes import to_base64, to_rfc3339


ROUNDS = 9
TIMES = 2_000
SIZE = 1024
NOW_MS = 1_767_268_800_123
ID = "0190a0b4-7f1e-7abc-8def-0123456789ab"
Work = Callable[[], object]
Case = tuple[str, Work, Work]


def cases() -> Iterator[Case]:
    """Each with its name, the plain and the fast way."""
    for name, codec in CODECS.items():
        device = {"deviceId": 1, "registrationId": 1, "content": _octets(codec, secrets.token_bytes(SIZE))}
        recipient = {"userId": ID, "epoch": 1, "devices": [device]}
        payload = {"messageId": str(uuid.uuid4()), "conversationId": ID, "recipients": [recipient]}
        post = codec.encode({"type": "post", "id": "17", "payload": payload})
        head = _octets(codec, bytes(32))
        acknowledge = codec.encode({"type": "acknowledge", "id": "5", "payload": {"seq": 5, "head": head}})
        yield f"read post, {name}", partial(_read, codec, post, Post), partial(codec.read_fast, post)
        yield (
            f"read acknowledge, {name}",
            partial(_read, codec, acknowledge, Acknowledge),
            partial(codec.read_fast, acknowledge),
        )
        yield f"write entries, {name}", partial(_write_dictionary, codec), partial(_write_entries, codec)
        accepted = Accepted(uuid.uuid4(), _AT, 1, is_repeat=False, skipped=())
        yield f"write accepted, {name}", partial(_write_answer, codec, accepted), partial(_answer, codec, accepted)


def _octets(codec: Codec, octets: bytes) -> bytes | str:
    return to_base64(octets) if codec.is_text else octets


def _read(codec: Codec, raw: bytes, shape: type[Post | Acknowledge]) -> object:
    frame = codec.decode(raw)
    assert isinstance(frame, dict)
    return validate(frame["payload"], shape)


_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
_ENVELOPE = Envelope(uuid.UUID(ID), 3, MessageId(uuid.UUID(ID)), uuid.UUID(ID), NOW_MS, NOW_MS + 1, 0, 2, bytes(SIZE))
_ENTRY = Entry(MailboxKey(1), 177, bytes(32), 1000, None, _ENVELOPE.pack())


def _write_entries(codec: Codec) -> bytes:
    payload = codec.encode({"type": "entries", "payload": {"entries": wire_entries([_ENTRY], NOW_MS)}})
    return write_frame(payload, is_text=codec.is_text)


def _write_dictionary(codec: Codec) -> bytes:
    sent = Envelope.unpack(_ENTRY.packed or b"")
    row = {
        "seq": _ENTRY.seq,
        "head": _octets(codec, _ENTRY.head),
        "envelopeId": str(uuid.UUID(int=envelope_id(sent.posted_at_ms, _ENTRY.number))),
        "messageId": str(sent.message_id),
        "conversationId": str(sent.conversation_id),
        "lane": "mail",
        "postedAt": to_rfc3339(from_milliseconds(sent.posted_at_ms)),
        "expiresAt": to_rfc3339(from_milliseconds(sent.expires_at_ms)),
        "senderId": str(sent.sender_id),
        "senderDeviceId": sent.sender_device_id,
        "kind": sent.kind,
        "content": _octets(codec, sent.content),
    }
    return _dump(codec, {"type": "entries", "payload": {"entries": [row]}})


def _answer(codec: Codec, accepted: Accepted) -> bytes:
    return codec.encode({"type": "accepted", "ref": "17", "payload": accepted_payload(accepted)})


def _write_answer(codec: Codec, accepted: Accepted) -> bytes:
    payload = {
        "messageId": str(accepted.message_id),
        "acceptedAt": to_rfc3339(accepted.accepted_at),
        "copies": accepted.copies,
        "isRepeat": accepted.is_repeat,
        "skipped": [],
    }
    return _dump(codec, {"type": "accepted", "ref": "17", "payload": payload})


def _dump(codec: Codec, frame: object) -> bytes:
    dumped: bytes = orjson.dumps(frame) if codec.is_text else msgpack.packb(frame)
    return dumped


def microseconds(work: Work) -> float:
    """Of processor time, for one call."""
    began = time.thread_time()
    for _ in range(TIMES):
        work()
    return (time.thread_time() - began) / TIMES * 1e6


def main() -> None:
    """Measure and print."""
    found: list[tuple[str, ...]] = []
    for name, plain, fast in cases():
        rounds = [(microseconds(plain), microseconds(fast)) for _ in range(ROUNDS)]
        both = [f"{statistics.median(each):.1f}" for each in zip(*rounds, strict=True)]
        found.append((name, *both, spread([after / before for before, after in rounds])))
    print(table(("frame", "plain, us", "fast, us", "ratio"), found))


if __name__ == "__main__":
    main()
