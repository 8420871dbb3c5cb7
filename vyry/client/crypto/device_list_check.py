"""What contents show of device lists: a device on no list, or a list that its owner does not know, is a device that the node hides or adds (docs/signal-protocol.md, section 13)."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vyry.client.crypto.content_parser import read_bytes
from vyry.client.crypto.device_lists import DeviceListHistory, KnownDevices, invalidate_device_list
from vyry.client.crypto.unsealing import IncomingEnvelope, OpenedContent
from vyry.client.store import kinds
from vyry.client.store.events import DeviceListDiffers
from vyry.client.store.journal import Journal
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import DAY_MS, Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.primitives import Address
from vyry.signal_protocol.sessions import PeerDevice


#: Ms for which a difference has to last: what was posted before a list changed may come after it.
MIN_DIFFERENCE_MS: Final = 60_000
#: Ms for which contents may name a list from before the newest one: the node refuses what is posted under an old list, so that only what waited in the mailbox does.
LATE_LIST_MS: Final = 3_600_000
_FINGERPRINT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ListDifference:
    """Since when contents of an account name another list than the node told (ms since 1970)."""

    since: int


class DeviceListCheck:
    """Compares, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = KnownDevices(store)

    def is_listed(self, address: Address, peer: PeerDevice, now: int = 0) -> bool:
        """Whether a verified list of the account has, or by `now` lately had, this very device."""
        seen = self._known.history(address.user_id)
        return seen is not None and seen.contains(address.device_id, peer.dh_key, now)

    def check_content(self, letter: IncomingEnvelope, unsealed: OpenedContent, content: Content) -> None:
        """Hold a content against the list of its sender. Raises BadContent."""
        person = letter.sender.user_id
        seen = self._known.history(person)
        if seen is None:
            return
        # Under a sender key nothing but the number of the device is known: the key was told in a session of it.
        dh_key = None if unsealed.session is None else unsealed.session.peer.dh_key
        if not seen.contains(letter.sender.device_id, dh_key, letter.at):
            self._add_event(person, letter.sender.device_id, "peer", letter.at)
        if "deviceList" in content.fields:
            self._compare(letter, seen, read_bytes(content.fields, "deviceList", _FINGERPRINT_BYTES))

    def needs_refresh(self, user_id: UUID) -> bool:
        """Whether contents named another list: then it is asked for again."""
        return self._store.get(kinds.LIST_DIFFERENCE, str(user_id)) is not None and self._known.current(user_id) is None

    def _compare(self, letter: IncomingEnvelope, seen: DeviceListHistory, named: bytes) -> None:
        person = letter.sender.user_id
        if named == seen.newest.fingerprint(person):
            self._store.put(kinds.LIST_DIFFERENCE, str(person), None)
            return
        if named in seen.fingerprints and letter.at - seen.since <= LATE_LIST_MS:
            return
        kept = self._store.get(kinds.LIST_DIFFERENCE, str(person))
        if kept is None:
            self._store.put(
                kinds.LIST_DIFFERENCE, str(person), pack(ListDifference(letter.at)), until=letter.at + 30 * DAY_MS
            )
            invalidate_device_list(self._store, person)
        elif (
            letter.at - unpack(ListDifference, kept).since >= MIN_DIFFERENCE_MS
            and self._known.current(person) is not None
        ):
            self._add_event(person, _find_unseen_device(person, seen, named), "node", letter.at)

    def _add_event(self, user_id: UUID, device_id: int | None, seen_by: str, now: int) -> None:
        event = DeviceListDiffers(user_id=user_id, device_id=device_id, seen_by=seen_by)
        Journal(self._store).add_once(event, now)


def _find_unseen_device(user_id: UUID, seen: DeviceListHistory, named: bytes) -> int | None:
    """The listed device without which the list is the one that its owner names; None when it is not one device more."""
    newest = seen.newest
    return next((each for each in newest.devices if newest.fingerprint(user_id, without=each) == named), None)
