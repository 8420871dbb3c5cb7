"""What contents reveal about device lists: a content from an unlisted device, or one that names another list than the node reported, shows a device that the node hides or adds (docs/signal-protocol.md, section 13)."""

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


#: Ms that a difference has to last: contents posted before a list changed may arrive after it.
MIN_DIFFERENCE_MS: Final = 60_000
#: Ms for which contents may name an earlier list: the node refuses posts under an old list, so only contents that waited in the mailbox do.
LATE_LIST_MS: Final = 3_600_000
_FINGERPRINT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ListDifference:
    """Since when (ms since 1970) contents of an account name another list than the node reported."""

    since: int


class DeviceListCheck:
    """Compares contents with device lists, inside the transaction of the caller."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = KnownDevices(store)

    def is_listed(self, address: Address, peer: PeerDevice, now: int = 0) -> bool:
        """Whether a verified list of the account has this very device, or had it shortly before `now`."""
        history = self._known.history(address.user_id)
        return history is not None and history.contains(address.device_id, peer.dh_key, now)

    def check_content(self, envelope: IncomingEnvelope, unsealed: OpenedContent, content: Content) -> None:
        """Compare a content with the device list of its sender. Raises BadContent."""
        user_id = envelope.sender.user_id
        history = self._known.history(user_id)
        if history is None:
            return
        # Under a sender key only the device id is known: the key was distributed in a session of that device.
        dh_key = None if unsealed.session is None else unsealed.session.peer.dh_key
        if not history.contains(envelope.sender.device_id, dh_key, envelope.at):
            self._add_event(user_id, envelope.sender.device_id, "peer", envelope.at)
        if "deviceList" in content.fields:
            self._compare(envelope, history, read_bytes(content.fields, "deviceList", _FINGERPRINT_BYTES))

    def needs_refresh(self, user_id: UUID) -> bool:
        """Whether contents named another list: then it is fetched again."""
        return self._store.get(kinds.LIST_DIFFERENCE, str(user_id)) is not None and self._known.current(user_id) is None

    def _compare(self, envelope: IncomingEnvelope, history: DeviceListHistory, named: bytes) -> None:
        user_id = envelope.sender.user_id
        if named == history.newest.fingerprint(user_id):
            self._store.put(kinds.LIST_DIFFERENCE, str(user_id), None)
            return
        if named in history.fingerprints and envelope.at - history.since <= LATE_LIST_MS:
            return
        packed = self._store.get(kinds.LIST_DIFFERENCE, str(user_id))
        if packed is None:
            self._store.put(
                kinds.LIST_DIFFERENCE, str(user_id), pack(ListDifference(envelope.at)), until=envelope.at + 30 * DAY_MS
            )
            invalidate_device_list(self._store, user_id)
        elif (
            envelope.at - unpack(ListDifference, packed).since >= MIN_DIFFERENCE_MS
            and self._known.current(user_id) is not None
        ):
            self._add_event(user_id, _find_unseen_device(user_id, history, named), "node", envelope.at)

    def _add_event(self, user_id: UUID, device_id: int | None, seen_by: str, now: int) -> None:
        event = DeviceListDiffers(user_id=user_id, device_id=device_id, seen_by=seen_by)
        Journal(self._store).add_once(event, now)


def _find_unseen_device(user_id: UUID, history: DeviceListHistory, named: bytes) -> int | None:
    """The listed device without which the list equals the one that its owner names; None when the difference is not exactly one device."""
    newest = history.newest
    return next((each for each in newest.devices if newest.fingerprint(user_id, without=each) == named), None)
