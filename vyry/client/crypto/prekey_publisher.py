"""The prekeys that others start sessions with: generated and stored here, published in sets (docs/signal-protocol.md, "Keys of a device")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from vyry.client.crypto.local_device import LocalDevice, ReplayRecord
from vyry.client.store import kinds
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.keys import DhPrekey, KemPrekey, PublicPrekey
from vyry.signal_protocol.primitives import DhPair, KemPair


#: One-time keys of each kind in one set.
PREKEYS_PER_SET: Final = 100
#: Days until a signed prekey is rotated, and days for which its private half is kept afterwards: as long as mail for it can wait.
SIGNED_DAYS: Final = 7
RETIRED_DAYS: Final = 30
#: Days for which an issued one-time key is kept: twice as long as mail can wait.
ISSUED_DAYS: Final = 60


@dataclass(frozen=True, slots=True)
class SignedPrekeyRecord:
    """A signed prekey, and when it was made (ms since 1970)."""

    id: int
    at: int


class PrekeyPublisher:
    """Makes and stores prekeys, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make_key_set(self, me: LocalDevice, now: int) -> tuple[LocalDevice, dict[str, Any]]:
        """A new stored key set, and the body that publishes it (PUT /keys)."""
        own = me.protocol_device
        me, signed = self.rotate_signed(me, now)
        me, more = self.make_one_time(me)
        body = {
            "suite": "vyry",
            "registrationId": me.registration_id,
            "identityKey": encode_base64(own.identity.public),
            "identityDhKey": encode_base64(own.dh.public),
            "identityDhSignature": encode_base64(own.dh_signature()),
            **signed,
            **more,
        }
        return me, body

    def rotate_signed(self, me: LocalDevice, now: int) -> tuple[LocalDevice, dict[str, Any]]:
        """A new stored signed prekey and PQ last-resort prekey, and the body that publishes them; earlier ones stay until `expire_old`."""
        own, number = me.protocol_device, me.next_id
        signed = DhPrekey(number, DhPair.generate())
        last = KemPrekey(number, KemPair.generate(), is_last_resort=True)
        self._store.put(kinds.SIGNED_PREKEY, str(number), pack(signed))
        self._store.put(kinds.PQ_LAST_RESORT, str(number), pack(last))
        packed = self._store.get(kinds.SIGNED_PREKEYS)
        made = unpack(tuple[SignedPrekeyRecord, ...], packed) if packed else ()
        self._store.put(kinds.SIGNED_PREKEYS, "", pack((*made, SignedPrekeyRecord(number, now))))
        body = {"signedPrekey": _as_body(signed.publish(own)), "pqLastResort": _as_body(last.publish(own))}
        return replace(me, next_id=number + 1), body

    def expire_old(self, now: int) -> None:
        """Call this once the newest signed prekey is published: earlier ones, and their replay records, then expire after RETIRED_DAYS."""
        packed = self._store.get(kinds.SIGNED_PREKEYS)
        *old, newest = unpack(tuple[SignedPrekeyRecord, ...], packed) if packed else (SignedPrekeyRecord(0, now),)
        until = now + RETIRED_DAYS * DAY_MS
        for each in old:
            for kind in (kinds.SIGNED_PREKEY, kinds.PQ_LAST_RESORT):
                self._store.put(kind, str(each.id), self._store.get(kind, str(each.id)), until=until)
            for record in (unpack(ReplayRecord, value) for value in self._store.all(kinds.REPLAY)):
                if record.signed_prekey_id == each.id:
                    self._store.put(kinds.REPLAY, record.transcript.hex(), pack(record), until=until)
        self._store.put(kinds.SIGNED_PREKEYS, "", pack((newest,)))

    def expire_issued(self, issued: Mapping[str, int], now: int) -> None:
        """The node issued one-time keys up to these ids (`issuedThrough`). A key that is unused for 60 days then expires: no mail for it can arrive any more."""
        for kind, through in ((kinds.ONE_TIME_PREKEY, issued["oneTime"]), (kinds.PQ_PREKEY, issued["pq"])):
            marked = int(self._store.get(kinds.ISSUED_THROUGH, kind) or b"0")
            for number in range(marked + 1, through + 1):
                packed = self._store.get(kind, str(number))
                if packed is not None:
                    self._store.put(kind, str(number), packed, until=now + ISSUED_DAYS * DAY_MS)
            self._store.put(kinds.ISSUED_THROUGH, kind, str(max(marked, through)).encode())

    def newest_signed(self) -> tuple[int, int]:
        """Id of the newest signed prekey, and when it was made (ms since 1970)."""
        packed = self._store.get(kinds.SIGNED_PREKEYS)
        made = unpack(tuple[SignedPrekeyRecord, ...], packed)[-1] if packed else SignedPrekeyRecord(0, 0)
        return made.id, made.at

    def make_one_time(self, me: LocalDevice) -> tuple[LocalDevice, dict[str, Any]]:
        """New stored one-time keys, and the body that publishes them (POST /keys/prekeys)."""
        own, ids = me.protocol_device, range(me.next_id, me.next_id + PREKEYS_PER_SET)
        once = [DhPrekey(number, DhPair.generate()) for number in ids]
        kem = [KemPrekey(number, KemPair.generate()) for number in ids]
        for kind, prekeys in ((kinds.ONE_TIME_PREKEY, once), (kinds.PQ_PREKEY, kem)):
            self._save(kind, prekeys)
        body = {
            "oneTimePrekeys": [_as_body(prekey.unsigned()) for prekey in once],
            "pqPrekeys": [_as_body(prekey.publish(own)) for prekey in kem],
        }
        return replace(me, next_id=me.next_id + PREKEYS_PER_SET), body

    def _save(self, kind: str, prekeys: Sequence[DhPrekey | KemPrekey]) -> None:
        for prekey in prekeys:
            self._store.put(kind, str(prekey.id), pack(prekey))


def _as_body(prekey: PublicPrekey) -> dict[str, Any]:
    body: dict[str, Any] = {"id": prekey.id, "key": encode_base64(prekey.key)}
    return body if prekey.signature is None else {**body, "signature": encode_base64(prekey.signature)}
