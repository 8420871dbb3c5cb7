"""Seeds of the client's targets: answers, frames and contents as an honest node and device say them, and some that they must not."""

from typing import Any

import msgpack
import orjson

from tests.fuzz.client_targets import BO, CONVERSATION, DEVICE, ME, OWN, wrapped_key
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.keys import DhPrekey, KemPrekey, OwnDevice
from vyry.signal_protocol.primitives import DhPair, KemPair
from vyry.signal_protocol.retries import Resync, Retry
from vyry.signal_protocol.safety import ListedKeys, device_list_fingerprint
from vyry.signal_protocol.sender_keys import Distribution


def client_seeds() -> dict[str, list[bytes]]:
    """By target."""
    return {
        "device_list": [orjson.dumps(each) for each in _lists()],
        "conversation": [orjson.dumps(each) for each in _conversations()],
        "claimed_bundle": [orjson.dumps(each) for each in _bundles()],
        "node_frame": [msgpack.packb(each) for each in _frames()] + [b"\x81", b"\xc1", b"\x80"],
        "said_content": [*_contents(), b"{}", b'{"v":1,"v":1}'],
        "store_key": [wrapped_key(), b"W", b"W\x05\x01", b"W\x40\x01", b"[]", b'{"version":1}', _argon2()],
    }


def _row(device: OwnDevice, **changes: Any) -> dict[str, Any]:
    keys = {
        "identityDhKey": encode_base64(device.dh.public),
        "identityDhSignature": encode_base64(device.dh_signature()),
    }
    return {"deviceId": device.address.device_id, "registrationId": device.registration_id, **keys, **changes}


def _lists() -> list[dict[str, Any]]:
    key = encode_base64(DEVICE.identity.public)
    good: dict[str, Any] = {
        "userId": str(BO),
        "identityKey": key,
        "suite": "vyry",
        "epoch": 1,
        "devices": [_row(DEVICE)],
    }
    own = {**good, "identityKey": encode_base64(OWN.identity.public), "devices": [_row(OWN.protocol_device)]}
    ids: list[dict[str, Any]] = [
        {"deviceId": 2**40},
        {"deviceId": -1},
        {"deviceId": 0},
        {"registrationId": -5},
        {"registrationId": 2**33},
        {"deviceId": True},
    ]
    return [
        good,
        own,
        {**good, "devices": [_row(DEVICE), _row(DEVICE, deviceId=2)]},
        *({**good, "devices": [_row(DEVICE, **each)]} for each in ids),
        *({**own, "devices": [_row(OWN.protocol_device, **each)]} for each in ids),
        {**good, "epoch": 2**70 % 10**19},
        {**good, "suite": "libsignal"},
        {**good, "devices": {}},
        {**good, "identityKey": None},
    ]


def _conversations() -> list[dict[str, Any]]:
    members: list[Any] = [{"userId": str(each), "role": "member"} for each in (ME, BO)]
    good = {"conversationId": str(CONVERSATION), "kind": "direct", "version": 1, "members": members}
    third = {"userId": str(CONVERSATION), "role": "member"}
    return [
        good,
        {**good, "kind": "group", "members": [*members, third]},
        {**good, "members": [*members, third]},
        {**good, "members": [{"userId": 7}]},
        {**good, "members": [{"userId": None}]},
        {**good, "members": "people"},
        {**good, "version": 2**63},
        {**good, "version": -1},
    ]


def _bundles() -> list[dict[str, Any]]:
    signed, kem = DhPrekey(5, DhPair.from_private(bytes([5]) * 32)), KemPrekey(7, KemPair.from_seed(bytes([7]) * 64))
    spk, pq = signed.publish(DEVICE), kem.publish(DEVICE)
    once: dict[str, Any] = {"id": 6, "key": encode_base64(DhPair.from_private(bytes([6]) * 32).public)}
    good: dict[str, Any] = {
        **_row(DEVICE),
        "identityKey": encode_base64(DEVICE.identity.public),
        "signedPrekey": {"id": spk.id, "key": encode_base64(spk.key), "signature": encode_base64(spk.signature or b"")},
        "oneTimePrekey": once,
        "pqPrekey": {"id": pq.id, "key": encode_base64(pq.key), "signature": encode_base64(pq.signature or b"")},
        "pqPrekeyIsLastResort": False,
    }
    return [
        good,
        {**good, "oneTimePrekey": None},
        *({**good, "oneTimePrekey": {**once, "id": each}} for each in (0, -1, 2**32, "6", None, 1.5)),
        {**good, "oneTimePrekey": {**once, "key": ""}},
        *({**good, "signedPrekey": {**good["signedPrekey"], "id": each}} for each in (-1, 2**40, "5")),
        {**good, "deviceId": 2**40},
        {**good, "deviceId": "1"},
        {**good, "registrationId": None},
        {**good, "pqPrekeyIsLastResort": "no"},
    ]


def _entries() -> list[dict[str, Any]]:
    at = {
        "postedAt": "2027-01-15T08:00:00.000Z",
        "messageId": str(CONVERSATION),
        "conversationId": str(CONVERSATION),
        "head": bytes(32),
        "seq": 1,
    }
    envelope: dict[str, Any] = {
        **at,
        "senderId": str(BO),
        "senderDeviceId": 1,
        "lane": "mail",
        "kind": 2,
        "content": b"\x01\x02" + bytes(80),
    }
    lost: dict[str, Any] = {
        "seq": 1,
        "throughSeq": 4,
        "head": bytes(32),
        "tombstone": {"reason": "expired", "count": 4},
    }
    entries: list[dict[str, Any]] = [
        envelope,
        {**envelope, "kind": 1, "content": b"\x01\x01" + bytes(2_000)},
        lost,
        {**lost, "throughSeq": 0},
    ]
    entries += [{**envelope, "senderDeviceId": each} for each in (-1, 2**33, "1")] + [{**envelope, "senderId": 7}]
    entries += [
        {**lost, "throughSeq": each, "tombstone": {"reason": "expired", "count": each}} for each in (1.5, 2**63)
    ]
    entries += [{**lost, "tombstone": {"reason": each, "count": 4}} for each in (7, "x" * 90)]
    entries += [{**envelope, "kind": 2**40}, {**envelope, "content": "x"}]
    entries += [{**envelope, "postedAt": "1900-01-01T00:00:00.000Z"}]
    entries += [{**at, "notice": each} for each in _notices()]
    return entries


def _notices() -> list[dict[str, Any]]:
    return [
        {"name": "devicesChanged", "userId": str(BO)},
        {"name": "devicesChanged", "userId": 7},
        {"name": "conversationChanged", "conversationId": str(CONVERSATION)},
        {"name": "prekeysLow"},
        {"name": 7},
        {"name": None, "number": 3, "x": {"1": []}},
        {"name": "devicesChanged", "userId": str(BO), "notice": 1, "number": "x"},
        {"name": "of a newer version", "x": [1, None]},
    ]


def _frames() -> list[Any]:
    entries = _entries()
    payloads: list[tuple[str, Any]] = [
        *(("entries", {"entries": [each]}) for each in entries),
        ("entries", {"entries": [entries[0], entries[0]]}),
        ("welcome", {"lastMessageId": str(CONVERSATION)}),
        ("welcome", {"lastMessageId": None}),
        ("welcome", {"lastMessageId": 7}),
        ("welcome", []),
        ("drained", {}),
        ("refused", {"error_code": "STALE_HEAD", "cursor": {"seq": 9, "head": bytes(32)}}),
        ("refused", {"error_code": "STALE_HEAD", "cursor": {"seq": "9", "head": 1}}),
        ("refused", {"error_code": "STALE_HEAD", "cursor": None}),
        ("refused", None),
        ("typing", {"conversationId": str(CONVERSATION), "userId": str(BO), "deviceId": 1, "isTyping": True}),
        ("presence", {"userId": 7, "isOnline": True}),
    ]
    return [{"type": name, "id": "1", "payload": payload} for name, payload in payloads]


def _contents() -> list[bytes]:
    target = {"id": str(CONVERSATION), "senderId": str(BO)}
    mark = device_list_fingerprint(BO, DEVICE.identity.public, [ListedKeys(1, 77, DEVICE.dh.public)])
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("text", {"text": "hello", "deviceList": encode_base64(mark)}),
        ("text", {"text": "hello", "deviceList": encode_base64(bytes(32))}),
        ("text", {"text": "hello", "deviceList": 7}),
        ("text", {"text": "hello", "replyTo": {**target, "text": "hi"}, "timerSeconds": 60}),
        ("edit", {"target": target, "text": "hello"}),
        ("reaction", {"target": target, "emoji": None}),
        ("receipt", {"state": "read", "targets": [str(CONVERSATION)]}),
        ("timer", {"seconds": 60}),
        ("sync", {"sync": {"read": [target]}}),
        ("groupKey", {"groupKey": encode_base64(bytes(32)), "generation": 1}),
        ("profileKey", {"profileKey": encode_base64(bytes(32))}),
        ("senderKey", Distribution(bytes(16), 3, bytes(32), DEVICE.identity.public).fields()),
        (Retry.KIND, Retry(CONVERSATION, "BadMessage", None).fields()),
        (Resync.KIND, Resync(CONVERSATION).fields()),
        ("location", {"latitude": 1.5, "longitude": 181, "label": "x"}),
    ]
    said = [Content(kind, CONVERSATION, 1, CONVERSATION, fields).pack() for kind, fields in kinds]
    return [*said, said[0].replace(b'"text":"hello"', b'"text":"hello","text":"bye"')]


def _argon2() -> bytes:
    shown = {"salt": encode_base64(bytes(16)), "memory_kib": 65_536, "rounds": 3, "lanes": 4}
    return orjson.dumps({"version": 1, "opener": "passphrase", "argon2": shown, "sealed": encode_base64(bytes(60))})
