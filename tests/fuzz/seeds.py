"""`python -m tests.fuzz.seeds` writes the corpus anew from what devices and nodes really say, beside some of what they must not."""

import hashlib
import uuid
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgpack
import orjson
from aiohttp import WSMsgType
from pydantic import BaseModel

from scripts import make_history_vectors
from tests.fuzz.client_seeds import client_seeds
from tests.fuzz.domain_targets import TOKENS
from tests.fuzz.history_targets import ACCOUNT
from tests.fuzz.targets import CORPUS
from tests.fuzz.wire_targets import BODIES, QUERIES
from tests.support.archives import frames
from tests.support.device_keys import DeviceKeys, base64_text
from vyry.client.history.frames import pack_frame
from vyry.client.store.events import Attachment
from vyry.kernel.ids import MailboxKey, MessageId, UserId
from vyry.mail import work_record
from vyry.mail.envelope import Envelope
from vyry.mail.routing import CacheTopic
from vyry.redis.hints import Hint, HintKind
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.frame import pad
from vyry.signal_protocol.handshake import Prefix
from vyry.signal_protocol.linking import LinkOffer
from vyry.signal_protocol.pins import DirectPin, GroupPin, IdentityPin, NamePin, PinSet
from vyry.signal_protocol.primitives import SigningPair
from vyry.signal_protocol.provisioning import GroupKey, Provisioning
from vyry.signal_protocol.retries import Resync, Retry
from vyry.signal_protocol.sender_keys import Distribution
from web.proxy_protocol import SIGNATURE


ID = "0198c2d4-7a00-7000-8000-000000000001"
_POST = {
    "messageId": ID,
    "conversationId": ID,
    "conversationVersion": 3,
    "lane": "control",
    "urgent": False,
    "expiresInSeconds": 60,
    "content": None,
    "recipients": [
        {"userId": ID, "epoch": 4, "devices": [{"deviceId": 1, "registrationId": 77, "kind": 3, "content": "aGVsbG8="}]}
    ],
}
_HEAD = base64_text(bytes(32))
FRAMES = {
    "hello": {"after": 3, "head": _HEAD, "client": {"name": "seed", "version": "1"}},
    "renew": {"accessToken": "a.b.c"},
    "post": _POST,
    "acknowledge": {"seq": 3, "head": _HEAD},
    "park": {"seq": 3, "reason": "undecryptable"},
    "typing": {"conversationId": ID, "isTyping": True},
    "signal": {"userId": ID, "deviceId": 2, "callId": ID, "kind": "offer", "content": "aGVsbG8="},
    "watch": {"userIds": [ID]},
    "unwatch": {"userIds": []},
    "ping": {},
}
ODD_JSON = (
    b'{"a":1,"a":2}', b"[[[[[[[[[1]]]]]]]]]", b"[[[[[[[[1]]]]]]]]", b"9007199254740991", b"9007199254740992", b"NaN",
    b"-0", b"1e400", b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b"\xef\xbb\xbf{}", b"1.5e-7", b'{"":null}', b" [true , false]\n",
)  # fmt: skip


def corpus() -> Mapping[str, Iterable[bytes]]:
    """The seeds of each target."""
    frames = [{"type": name, "id": "1", "payload": payload} for name, payload in FRAMES.items()]
    json_frames = [orjson.dumps(each) for each in frames]
    token = TOKENS.issue(UserId(uuid.UUID(ID)), uuid.UUID(ID), 1)
    claims = urlsafe_b64decode(token.split(".")[1] + "==")
    packed = _envelope().pack()
    return {
        "json_text": [*json_frames, *ODD_JSON],
        "msgpack_value": [msgpack.packb(each) for each in frames] + [b"\x82\x01\x02\x01\x03", b"\xc7\x01\x05a", b"\xcb\x7f\xf8" + bytes(6)],
        "frame": [*json_frames, *(msgpack.packb(each) for each in frames)],
        "fast_frame": _fast_frames(),
        "body": [b"%s\n%s" % (name.encode(), orjson.dumps(value)) for name, value in _bodies().items()],
        "query": [b"%s\nlimit=3&cursor=1&after=0&wait=1&ticket=abc" % name.encode() for name in QUERIES]
        + [b"%s\n" % name.encode() for name in QUERIES],
        "path_name": [ID.encode(), b"127", b"007", ID.upper().encode()],
        "scalar": [b"aGVsbG8=", b"aGVsbG9=", b"2026-01-01T00:00:00.000Z", b"2026-02-30T00:00:00.000Z", ID.encode()],
        "socket_bytes": [_masked(WSMsgType.TEXT, each) for each in json_frames] + [b"\x88\x82abcd" + b"\x62\x8a", b"\x81\x00", b"\x01\x80abcd\x80\x80abcd"],
        "proxy_header": _proxy_headers(),
        "access_token": [token.encode(), f"{token}=".encode(), b"eyJhbGciOiJub25lIn0.e30."],
        "signed_claims": [claims, claims.replace(b'"gen":1', b'"gen":true'), b"{}", b"[]"],
        "opaque_token": [b"Kq3v-Zz0123456789abcdefghijklmnopqrstuvwxyzA", b"\xed\xa0\x80", b""],
        "phone_number": [b"+41791234567", b"+4915112345678", b"+1", b"0041791234567", b"+999123456789", "+４１７９１２３４５６７".encode()],
        "recovery_code_text": [b"000G-40R4-0M30-E209-185G-R38E-1W2P-FZX5", b"oo0g 4or4 om30 e209 i85g r38e lw2p fzx5", "０００G–40R4".encode(), b"U" * 32],
        "envelope": [packed, packed[:20], packed[:73]],
        "packed_work_record": [work_record.pack([MailboxKey(1), MailboxKey(2**40)]), b"1234567", b""],
        "hint": _hints(),
        "key_set": [bytes([suite]) for suite in (0, 1)] + [bytes([suite, field, 31, 0x80]) for suite in (0, 1) for field in range(10)] + [b"\x00\x80\x10\x01"],
        "push_target": [b"webpush\nhttps://push.example.org/a?b=1\n\n\n\n", b"unifiedpush\nhttps://push.example.org:8443/up", b"unifiedpush\nhttps://user:password@example.org/#x", b"fcm\n\n\n\ntoken", b"apns\n\n\n\ntoken\norg.example.app"],
        "client": [b"192.0.2.1", b"192.0.2.1, 10.0.0.1", b"::ffff:192.0.2.1, 10.1.1.1\n10.0.0.2", b"unknown, _hidden, 10.0.0.1:80"],
        "settings": [
            b"DATABASE_URL=postgres://u:p@h/n\nREDIS_URL=redis://h\nKAFKA_URL=kafka://h\nJWT_SECRET=0123456789abcdef0123456789abcdef",
            b"VYRY_ENV=production\nVYRY_SMS=webhook:https://sms.example.org\nVYRY_CORS_ORIGINS=*",
            b"VYRY_LIMIT_POST=20/60\nVYRY_TRUSTED_PROXIES=10.0.0.0/8,::1\nJWT_EXPIRATION=60\nSERVER_PORT=80000",
            b"VYRY_UNKNOWN=1",
        ],
        **_of_devices(), **_of_the_protocol(), **client_seeds(), **_of_histories(),
    }  # fmt: skip


def _of_histories() -> dict[str, list[bytes]]:
    """Archives of the vectors, read and refused, and the frames of one."""
    archives = [b64decode(case["archive"]) for case in make_history_vectors.cases() if "archive" in case]
    packed = [pack_frame(frame) for frame in frames()]
    return {"archive": archives, "history_frames": [b"\n".join(packed), *packed], "history_offer": _history_offers()}


def _history_offers() -> list[bytes]:
    """The content that offers an archive, and what is no offer."""
    pointer = Attachment(uuid.UUID(ID), bytes(range(32)), bytes(32), 1_000, "application/octet-stream").as_json()
    offer = {"attachment": pointer, "key": base64_text(bytes(range(32)))}
    refused: tuple[object, ...] = (
        None,
        {"key": offer["key"]},
        {**offer, "more": 1},
        {**offer, "key": base64_text(bytes(31))},
        {**offer, "attachment": {**pointer, "fileName": "a"}},
        {**offer, "attachment": {**pointer, "size": -1}},
    )
    return [
        Content("sync", uuid.UUID(ID), 1, ACCOUNT, {"sync": {"history": each}}).pack() for each in (offer, *refused)
    ]


def _proxy_headers() -> list[bytes]:
    ports = b"\xd4\x31\x01\xbb"
    rests = {
        0x11: bytes([192, 0, 2, 1, 10, 0, 0, 1]) + ports,
        0x21: bytes.fromhex("20010db8000000000000000000000007" + "fd00000000000000000000000000" + "0001") + ports,
        0x31: b"/run/client".ljust(108, b"\0") + b"/run/node".ljust(108, b"\0"),
        0x00: b"",
    }
    fields = b"\x04\x00\x03abc"
    made = [
        SIGNATURE + bytes([0x21, family]) + len(rest + fields).to_bytes(2, "big") + rest + fields
        for family, rest in rests.items()
    ]
    return [*made, SIGNATURE + b"\x20\x00\x00\x00", b"PROXY TCP4 192.0.2.1 10.0.0.1 54321 443\r\n"]


def _hints() -> list[bytes]:
    return [
        Hint(HintKind.NOTIFY, b"", [MailboxKey(1)]).pack(),
        Hint(HintKind.RELAY, b"frame", [MailboxKey(1), MailboxKey(2)]).pack(),
        Hint.displacement(7, [MailboxKey(3)]).pack(),
        Hint.change(CacheTopic.ACCOUNTS, [uuid.UUID(ID)]).pack(),
        Hint(HintKind.PRESENCE, b"1700000000000000 0198c2d47a0070008000000000000001:4000", ()).pack(),
        b"\x09\x00\x00\x00\x00",
    ]


def _of_devices() -> dict[str, list[bytes]]:
    offer = LinkOffer(uuid.UUID(ID), bytes(32), bytes([255]) * 32).uri()
    prefix = Prefix(7, bytes(32), bytes(32), bytes(64), bytes(32), 1, 2, 3, False, bytes(1568)).pack()
    said = Content("text", uuid.UUID(ID), 1, uuid.UUID(int=1), {"text": "hello"}).pack()
    return {
        "link_offer": [offer.encode(), offer.replace("v=1", "v=2").encode(), offer[:-1].encode() + b"B"],
        "prekey_prefix": [prefix, prefix + b"behind", prefix[:100]],
        "padding": [pad(b""), pad(b"hello"), bytes(512), pad(bytes(600))],
        "content": [said, b"{}", b"\xff"],
        "new_pin": [b"482913", "٤٨٢٩١٣".encode(), b"correct horse", "ñandú-①②".encode(), b"123456"],
    }


def _of_the_protocol() -> dict[str, list[bytes]]:
    here, key = uuid.UUID(int=1), SigningPair.from_private(bytes(32))
    account = Provisioning(uuid.UUID(ID), key, bytes(32), (GroupKey(here, bytes(32), 3),))
    identity = IdentityPin(uuid.UUID(ID), bytes(32), is_verified=True, at=7)
    pins = PinSet((identity,), (DirectPin(here, here),), (GroupPin(uuid.UUID(ID), (here,)),), (NamePin("@bo", here),))
    given, pinned = account.pack(), replace(account, pins=pins).pack()
    kinds: dict[str, dict[str, Any]] = {
        Retry.KIND: Retry(here, "BadMessage", bytes(16)).fields(),
        Resync.KIND: Resync(here).fields(),
        Distribution.KIND: Distribution(bytes(16), 3, bytes(32), key.public).fields(),
        "text": {"text": "hello", "replyTo": {"id": ID, "senderId": ID, "text": "hi"}, "timerSeconds": 60},
        "edit": {"target": {"id": ID, "senderId": ID}, "text": "hello"},
        "reaction": {"target": {"id": ID, "senderId": ID}, "emoji": None},
        "receipt": {"state": "read", "targets": [ID]},
        "sync": {"sync": {"read": [{"id": ID, "senderId": ID}]}},
    }
    heads = [b"\x01\x01", b"\x01\x02", b"\x01\x03", b"\x01\x20", b"\x01\x10"]
    return {
        "sealed_message": [bytes([kind]) for kind in range(6)]
        + [bytes([kind, 0, place, 0x80, flag]) for kind in range(6) for place in (0, 1, 60) for flag in (0, 0xFF)],
        "foreign_content": [head + bytes(size) for head in heads for size in (0, 64, 576, 2_323)]
        + [b"\x02\x01", b"\x01\x04"],
        "provisioning": [
            given,
            given[:-1] + b',"settings":{"theme":"dark"}}',
            given.replace(b'"v":1', b'"v":2'),
            given[:-1],
            pinned,
            pinned.replace(b'"members"', b'"member"'),
            given.replace(b'"kind"', b'"v":1,"kind"'),
            b"{}",
        ],
        "kept_content": [Content(kind, uuid.UUID(ID), 1, here, fields).pack() for kind, fields in kinds.items()],
    }


def _fast_frames() -> list[bytes]:
    """Posts and acknowledgements in both encodings."""
    found = [orjson.dumps({"type": name, "id": "1", "payload": FRAMES[name]}) for name in ("post", "acknowledge")]
    device = {"deviceId": 1, "registrationId": 77, "kind": 3, "content": b"hello"}
    payload = _POST | {"recipients": [{"userId": ID, "epoch": 4, "devices": [device]}]}
    found.append(msgpack.packb({"type": "post", "id": "1", "payload": payload}))
    found.append(msgpack.packb({"type": "acknowledge", "id": "1", "payload": {"seq": 3, "head": bytes(32)}}))
    return found


def _bodies() -> dict[str, object]:
    keys = DeviceKeys()
    known: dict[str, object] = {name[0].upper() + name[1:]: payload for name, payload in FRAMES.items()} | {
        "KeySet": keys.upload(1, 1),
        "MoreKeys": {"oneTimePrekeys": keys.one_time_prekeys(1)},
        "Nothing": {},
    }
    return {name: known.get(name) or _filled(shape) for name, shape in BODIES.items()}


def _filled(shape: type[BaseModel]) -> dict[str, object]:
    """A body with every field, as its schema would have it: near enough to be grown from."""
    schema = shape.model_json_schema(by_alias=True)
    return {name: _example(part, schema.get("$defs", {})) for name, part in schema.get("properties", {}).items()}


def _example(part: dict[str, object], defs: dict[str, dict[str, object]]) -> object:  # noqa: PLR0911  a case each
    match part:
        case {"$ref": str(ref)}:
            inner = defs[ref.rsplit("/", 1)[1]].get("properties", {})
            assert isinstance(inner, dict)
            return {name: _example(each, defs) for name, each in inner.items()}
        case {"anyOf": [dict(first), *_]}:
            return _example(first, defs)
        case {"type": "array", "items": dict(item)}:
            return [_example(item, defs)]
        case {"enum": [first, *_]} | {"const": first} | {"examples": [first, *_]} | {"minimum": first}:
            return first
        case _:
            return {"boolean": True, "integer": 1, "number": 1}.get(str(part.get("type")), ID)


def _envelope() -> Envelope:
    one = uuid.UUID(ID)
    return Envelope(one, 1, MessageId(one), one, 1, 2, 0, 3, b"hello")


def _masked(kind: WSMsgType, payload: bytes) -> bytes:
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return bytes([0x80 | kind]) + size + bytes(4) + payload


def main() -> None:
    """Replace the corpus."""
    for name, every in corpus().items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for each in every:
            (folder / hashlib.sha256(each).hexdigest()[:12]).write_bytes(each)


if __name__ == "__main__":
    main()
