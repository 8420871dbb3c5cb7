"""This device: who it is, its long-term keys, and the prekeys it published."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from vyry.client.chain import Point, text
from vyry.client.packing import pack, unpack
from vyry.client.refusals import NotRegistered
from vyry.client.store import Store
from vyry.signal_protocol.keys import DhPrekey, KemPrekey, OwnDevice, PublicPrekey
from vyry.signal_protocol.primitives import Address, DhPair, KemPair, SigningPair
from vyry.signal_protocol.sessions import Answered


#: So many one-time keys of each kind are published at a time.
PREKEYS: Final = 100
_MAX_REGISTRATION_ID: Final = 16_380
_ME: Final = "me"


@dataclass(frozen=True, slots=True)
class Me:
    """A registered device. `point` is what is safe here of its mailbox, None before the first look; `next_id` is the first prekey id never used."""

    user_id: UUID
    device_id: int
    registration_id: int
    identity: SigningPair = field(repr=False)
    dh: DhPair = field(repr=False)
    point: Point | None = None
    next_id: int = 1

    @classmethod
    def fresh(cls, user_id: UUID, device_id: int) -> "Me":
        """A device with new keys, on a new account."""
        registration_id = 1 + secrets.randbelow(_MAX_REGISTRATION_ID)
        return cls(user_id, device_id, registration_id, SigningPair.fresh(), DhPair.fresh())

    @property
    def own(self) -> OwnDevice:
        """As the protocol has it."""
        return OwnDevice(Address(self.user_id, self.device_id), self.registration_id, self.identity, self.dh)

    @classmethod
    def of(cls, store: Store) -> "Me":
        """The device of this profile. Raises NotRegistered."""
        kept = store.get(_ME)
        if kept is None:
            raise NotRegistered("This profile has no account yet: register first.")
        return unpack(cls, kept)

    def keep(self, store: Store) -> None:
        """Store it."""
        store.put(_ME, "", pack(self))


class KeptPrekeys:
    """The private halves of what was published: a `Keeper` of the protocol."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def signed(self, prekey_id: int) -> DhPrekey | None:
        """See Keeper."""
        return self._dh("signed prekey", prekey_id)

    def one_time(self, prekey_id: int) -> DhPrekey | None:
        """See Keeper."""
        return self._dh("one-time prekey", prekey_id)

    def pq(self, prekey_id: int, *, is_last_resort: bool) -> KemPrekey | None:
        """See Keeper."""
        kept = self._store.get("pq last-resort prekey" if is_last_resort else "pq prekey", str(prekey_id))
        return unpack(KemPrekey, kept) if kept else None

    def was_answered(self, transcript: bytes) -> bool:
        """See Keeper."""
        return self._store.get("replay", transcript.hex()) is not None

    def note(self, answered: Answered) -> None:
        """Delete what a handshake used up, and remember it if it could be replayed."""
        if answered.one_time_prekey_id:
            self._store.put("one-time prekey", str(answered.one_time_prekey_id), None)
        if not answered.pq_is_last_resort:
            self._store.put("pq prekey", str(answered.pq_prekey_id), None)
        if answered.replay is not None:
            self._store.put("replay", answered.replay.hex(), str(answered.signed_prekey_id).encode())

    def whole_set(self, me: Me) -> tuple[Me, dict[str, Any]]:
        """A new set, kept, and the body that publishes it (PUT /keys)."""
        own, number = me.own, me.next_id
        signed = DhPrekey(number, DhPair.fresh())
        last = KemPrekey(number, KemPair.fresh(), is_last_resort=True)
        self._store.put("signed prekey", str(number), pack(signed))
        self._store.put("pq last-resort prekey", str(number), pack(last))
        me, more = self.more(me)
        body = {
            "suite": "vyry",
            "registrationId": me.registration_id,
            "identityKey": text(own.identity.public),
            "identityDhKey": text(own.dh.public),
            "identityDhSignature": text(own.dh_signature()),
            "signedPrekey": _published(signed.publish(own)),
            "pqLastResort": _published(last.publish(own)),
            **more,
        }
        return me, body

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

    def _dh(self, kind: str, prekey_id: int) -> DhPrekey | None:
        kept = self._store.get(kind, str(prekey_id))
        return unpack(DhPrekey, kept) if kept else None


def _published(prekey: PublicPrekey) -> dict[str, Any]:
    body: dict[str, Any] = {"id": prekey.id, "key": text(prekey.key)}
    return body if prekey.signature is None else {**body, "signature": text(prekey.signature)}
