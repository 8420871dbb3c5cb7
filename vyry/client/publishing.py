"""The prekeys that others begin with: made here, kept here, and published in sets (docs/signal-protocol.md, "Keys of a device")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from vyry.client.chain import text
from vyry.client.device import LAST_RESORT, SIGNED, Me, Replay
from vyry.client.packing import pack, unpack
from vyry.client.store import DAY, Store
from vyry.signal_protocol.keys import DhPrekey, KemPrekey, PublicPrekey
from vyry.signal_protocol.primitives import DhPair, KemPair


#: So many one-time keys of each kind are published at a time.
PREKEYS: Final = 100
#: A signed prekey serves so long; its private half is kept on as long as mail for it can wait.
SIGNED_DAYS: Final = 7
OLD_DAYS: Final = 30
#: A one-time key that was given away is kept so long: twice as long as mail can wait.
ISSUED_DAYS: Final = 60
_ISSUED: Final = "issued through"


@dataclass(frozen=True, slots=True)
class Made:
    """A signed prekey, and when it was made (ms since 1970)."""

    id: int
    at: int


class Publishing:
    """Makes and keeps sets, inside the transaction of whoever calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def whole_set(self, me: Me, now: int) -> tuple[Me, dict[str, Any]]:
        """A new set, kept, and the body that publishes it (PUT /keys)."""
        own = me.own
        me, signed = self.rotated(me, now)
        me, more = self.more(me)
        body = {
            "suite": "vyry",
            "registrationId": me.registration_id,
            "identityKey": text(own.identity.public),
            "identityDhKey": text(own.dh.public),
            "identityDhSignature": text(own.dh_signature()),
            **signed,
            **more,
        }
        return me, body

    def rotated(self, me: Me, now: int) -> tuple[Me, dict[str, Any]]:
        """A new signed prekey and PQ last resort, kept, and the body that publishes them; those before stay until `retire`."""
        own, number = me.own, me.next_id
        signed = DhPrekey(number, DhPair.fresh())
        last = KemPrekey(number, KemPair.fresh(), is_last_resort=True)
        self._store.put(SIGNED, str(number), pack(signed))
        self._store.put(LAST_RESORT, str(number), pack(last))
        kept = self._store.get("signed prekeys")
        made = unpack(tuple[Made, ...], kept) if kept else ()
        self._store.put("signed prekeys", "", pack((*made, Made(number, now))))
        body = {"signedPrekey": _published(signed.publish(own)), "pqLastResort": _published(last.publish(own))}
        return replace(me, next_id=number + 1), body

    def retire(self, now: int) -> None:
        """The newest signed prekey is published: those before, and what could be replayed of them, are deleted when the last mail for them has expired."""
        kept = self._store.get("signed prekeys")
        *old, newest = unpack(tuple[Made, ...], kept) if kept else (Made(0, now),)
        until = now + OLD_DAYS * DAY
        for each in old:
            for kind in (SIGNED, LAST_RESORT):
                self._store.put(kind, str(each.id), self._store.get(kind, str(each.id)), until=until)
            for note in (unpack(Replay, value) for value in self._store.all("replay")):
                if note.signed_prekey_id == each.id:
                    self._store.put("replay", note.transcript.hex(), pack(note), until=until)
        self._store.put("signed prekeys", "", pack((newest,)))

    def end_issued(self, issued: Mapping[str, int], now: int) -> None:
        """The node gave away one-time keys up to these ids (`issuedThrough`): one that opened nothing within 60 days is deleted, for no mail for it can come any more."""
        for kind, through in (("one-time prekey", issued["oneTime"]), ("pq prekey", issued["pq"])):
            marked = int(self._store.get(_ISSUED, kind) or b"0")
            for number in range(marked + 1, through + 1):
                kept = self._store.get(kind, str(number))
                if kept is not None:
                    self._store.put(kind, str(number), kept, until=now + ISSUED_DAYS * DAY)
            self._store.put(_ISSUED, kind, str(max(marked, through)).encode())

    def newest(self) -> tuple[int, int]:
        """Id of the newest signed prekey, and when it was made (ms since 1970)."""
        kept = self._store.get("signed prekeys")
        made = unpack(tuple[Made, ...], kept)[-1] if kept else Made(0, 0)
        return made.id, made.at

    def more(self, me: Me) -> tuple[Me, dict[str, Any]]:
        """New one-time keys, kept, and the body that publishes them (POST /keys/prekeys)."""
        own, ids = me.own, range(me.next_id, me.next_id + PREKEYS)
        once = [DhPrekey(number, DhPair.fresh()) for number in ids]
        kem = [KemPrekey(number, KemPair.fresh()) for number in ids]
        for kind, prekeys in (("one-time prekey", once), ("pq prekey", kem)):
            self._keep(kind, prekeys)
        body = {
            "oneTimePrekeys": [_published(prekey.unsigned()) for prekey in once],
            "pqPrekeys": [_published(prekey.publish(own)) for prekey in kem],
        }
        return replace(me, next_id=me.next_id + PREKEYS), body

    def _keep(self, kind: str, prekeys: Sequence[DhPrekey | KemPrekey]) -> None:
        for prekey in prekeys:
            self._store.put(kind, str(prekey.id), pack(prekey))


def _published(prekey: PublicPrekey) -> dict[str, Any]:
    body: dict[str, Any] = {"id": prekey.id, "key": text(prekey.key)}
    return body if prekey.signature is None else {**body, "signature": text(prekey.signature)}
