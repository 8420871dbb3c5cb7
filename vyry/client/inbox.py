"""What arrives: checked against the chain, opened, and kept together with the ratchet behind it, a page in one transaction. Only then may it be acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from vyry.client.chain import Entry, Point, octets
from vyry.client.device import KeptPrekeys, Me
from vyry.client.packing import pack
from vyry.client.peers import Peers
from vyry.client.store import Store
from vyry.signal_protocol.contents import read_content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.refusals import DuplicateMessage, PrekeyReplayed, Refusal
from vyry.signal_protocol.sessions import Arrival


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person should know. `name`: message, unreadable, lost, notice, notSent; `body` as docs/sdk.md tells."""

    name: str
    body: dict[str, Any]


class Inbox:
    """Takes pages of entries."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._peers = Peers(store)
        self._prekeys = KeptPrekeys(store)

    def take(self, entries: Sequence[Entry], now: int) -> Point:
        """Keep all of it, or nothing; answers the point to acknowledge. Raises ChainBroken."""
        with self._store.transaction():
            me = Me.of(self._store)
            point = me.point
            assert point is not None
            for entry in entries:
                point = point.after(entry)
                event = self._event(me, entry, now)
                if event is not None:
                    self._store.add_event(pack(event))
            replace(me, point=point).keep(self._store)
        return point

    def _event(self, me: Me, entry: Entry, now: int) -> Event | None:
        if "tombstone" in entry:
            return Event("lost", {"seq": entry["seq"], "throughSeq": entry["throughSeq"], **entry["tombstone"]})
        try:
            return self._notice(entry) if "notice" in entry else self._message(me, entry, now)
        except (DuplicateMessage, PrekeyReplayed):
            return None
        except Refusal as refused:
            named = ("senderId", "senderDeviceId", "conversationId", "messageId")
            return Event("unreadable", {"reason": refused.name, **{name: entry[name] for name in named}})

    def _notice(self, entry: Entry) -> Event:
        notice = entry["notice"]
        if notice["name"] == "devicesChanged":
            self._peers.keep_devices(UUID(notice["userId"]), None)
        if notice["name"] == "deviceLinked":
            self._peers.keep_devices(Me.of(self._store).user_id, None)
        if notice["name"] == "prekeysLow":
            self._store.put("refill", "", b"due")
        return Event("notice", dict(notice))

    def _message(self, me: Me, entry: Entry, now: int) -> Event:
        sender = Address(UUID(entry["senderId"]), entry["senderDeviceId"])
        held = self._peers.identity(sender.user_id)
        arrival = Arrival(sender, octets(entry["content"]), now, held)
        opened = self._peers.sessions(sender).open(me.own, arrival, self._prekeys)
        self._peers.keep_sessions(sender, opened.sessions)
        if opened.answered is not None:
            self._prekeys.note(opened.answered)
            self._peers.keep_registration_id(sender, opened.answered.registration_id)
            if held is None:
                self._peers.keep_identity(sender.user_id, opened.answered.identity_key)
        said = read_content(opened.plaintext, UUID(entry["conversationId"]))
        return Event(
            "message",
            {
                "conversationId": entry["conversationId"],
                "senderId": entry["senderId"],
                "senderDeviceId": entry["senderDeviceId"],
                "id": str(said.id),
                "at": said.at,
                "kind": said.kind,
                **said.fields,
            },
        )
