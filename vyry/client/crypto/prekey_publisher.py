"""The prekeys that others begin with: made here, kept here, and published in sets (docs/signal-protocol.md, "Keys of a device")."""

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


#: So many one-time keys of each kind are published at a time.
PREKEYS_PER_SET: Final = 100
#: A signed prekey serves so long; its private half is kept on as long as mail for it can wait.
SIGNED_DAYS: Final = 7
RETIRED_DAYS: Final = 30
#: A one-time key that was given away is kept so long: twice as long as mail can wait.
ISSUED_DAYS: Final = 60


@dataclass(frozen=True, slots=True)
class SignedPrekeyRecord:
    """A signed prekey, and when it was made (ms since 1970)."""

    id: int
    at: int


class PrekeyPublisher:
    """Makes and keeps sets, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make_key_set(self, me: LocalDevice, now: int) -> tuple[LocalDevice, dict[str, Any]]:
        """A new set, kept, and the body that publishes it (PUT /keys)."""
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
        """A new signed prekey and PQ last resort, kept, and the body that publishes them; those before stay until `retire`."""
        own, number = me.protocol_device, me.next_id
        signed = DhPrekey(number, DhPair.generate())
        last = KemPrekey(number, KemPair.generate(), is_last_resort=True)
        self._store.put(kinds.SIGNED_PREKEY, str(number), pack(signed))
        self._store.put(kinds.PQ_LAST_RESORT, str(number), pack(last))
        kept = self._store.get(kinds.SIGNED_PREKEYS)
        made = unpack(tuple[SignedPrekeyRecord, ...], kept) if kept else ()
        self._store.put(kinds.SIGNED_PREKEYS, "", pack((*made, SignedPrekeyRecord(number, now))))
        body = {"signedPrekey": _as_body(signed.publish(own)), "pqLastResort": _as_body(last.publish(own))}
        return replace(me, next_id=number + 1), body

    def expire_old(self, now: int) -> None:
        """The newest signed prekey is published: those before, and what could be replayed of them, are deleted when the last mail for them has expired."""
        kept = self._store.get(kinds.SIGNED_PREKEYS)
        *old, newest = unpack(tuple[SignedPrekeyRecord, ...], kept) if kept else (SignedPrekeyRecord(0, now),)
        until = now + RETIRED_DAYS * DAY_MS
        for each in old:
            for kind in (kinds.SIGNED_PREKEY, kinds.PQ_LAST_RESORT):
                self._store.put(kind, str(each.id), self._store.get(kind, str(each.id)), until=until)
            for note in (unpack(ReplayRecord, value) for value in self._store.all(kinds.REPLAY)):
                if note.signed_prekey_id == each.id:
                    self._store.put(kinds.REPLAY, note.transcript.hex(), pack(note), until=until)
        self._store.put(kinds.SIGNED_PREKEYS, "", pack((newest,)))

    def expire_issued(self, issued: Mapping[str, int], now: int) -> None:
        """The node gave away one-time keys up to these ids (`issuedThrough`): one that opened nothing within 60 days is deleted, for no mail for it can come any more."""
        for kind, through in ((kinds.ONE_TIME_PREKEY, issued["oneTime"]), (kinds.PQ_PREKEY, issued["pq"])):
            marked = int(self._store.get(kinds.ISSUED_THROUGH, kind) or b"0")
            for number in range(marked + 1, through + 1):
                kept = self._store.get(kind, str(number))
                if kept is not None:
                    self._store.put(kind, str(number), kept, until=now + ISSUED_DAYS * DAY_MS)
            self._store.put(kinds.ISSUED_THROUGH, kind, str(max(marked, through)).encode())

    def newest_signed(self) -> tuple[int, int]:
        """Id of the newest signed prekey, and when it was made (ms since 1970)."""
        kept = self._store.get(kinds.SIGNED_PREKEYS)
        made = unpack(tuple[SignedPrekeyRecord, ...], kept)[-1] if kept else SignedPrekeyRecord(0, 0)
        return made.id, made.at

    def make_one_time(self, me: LocalDevice) -> tuple[LocalDevice, dict[str, Any]]:
        """New one-time keys, kept, and the body that publishes them (POST /keys/prekeys)."""
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
