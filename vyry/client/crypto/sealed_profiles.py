"""What people show of themselves, sealed: the node keeps it and cannot read it. Its key is told to those whom one writes to, once for the devices that they have."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.group_keys import read_line
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import changed_key
from vyry.client.errors import Refused, TextTooLong
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.outgoing import Outgoing, SendQueue
from vyry.client.store.packing import pack
from vyry.client.store.store import Store
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.batches import batched
from vyry.kernel.display_text import InvalidText, clean_line, validate_line
from vyry.kernel.ids import new_id
from vyry.signal_protocol.blobs import BlobKind, open_blob, seal_blob
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.refusals import Refusal


#: What is shown, and the longest that it may be, in characters.
MAX_LENGTHS: Final = {"name": 100, "about": 500}
#: So many people are told a key in one post: their devices have to fit into a body.
_AT_ONCE: Final = 10


class Profiles:
    """Seals one's own, and opens those of others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read_profile(self, said: Mapping[str, Any]) -> dict[str, str | None]:
        """`name` and `about` in an account as the node tells it; None for what is not there, or does not open, or makes no sense."""
        info = self._open(said)
        return {name: read_line(info, name, most) for name, most in MAX_LENGTHS.items()}

    def seal_profile(self, said: Mapping[str, Any], changes: Mapping[str, str]) -> str:
        """One's own account with other words, for the node; nothing takes them away. What a newer version says there stays. Raises TextTooLong, BadContent."""
        info = {**self._open(said), **{name: _checked_text(name, words) for name, words in changes.items()}}
        return encode_base64(seal_blob(LocalDevice.load(self._store).profile_key, BlobKind.PROFILE, info))

    def mark_published(self) -> None:
        """There is something that one shows: from here on its key is told."""
        self._store.put(kinds.PROFILE_PUBLISHED, "", b"yes")

    def is_published(self) -> bool:
        """Whether there is."""
        return self._store.get(kinds.PROFILE_PUBLISHED) is not None

    def _open(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        user_id, me = UUID(said["userId"]), LocalDevice.load(self._store)
        key = me.profile_key if user_id == me.user_id else self._store.get(kinds.PROFILE_KEY, str(user_id))
        try:
            return open_blob(key, BlobKind.PROFILE, decode_bytes(said["sealedProfile"])) if key else {}
        except (Refusal, TypeError, ValueError):
            return {}


def _checked_text(name: str, words: str) -> str:
    """One line as it is sealed; an empty one takes the words away. Raises TextTooLong."""
    try:
        return validate_line(words, MAX_LENGTHS[name]) if clean_line(words) else ""
    except InvalidText as problem:
        raise TextTooLong(name, problem) from None


class ProfileKeySender:
    """Tells one's own key."""

    def __init__(self, store: Store, circles: MemberDirectory, now: Callable[[], int]) -> None:
        self._store = store
        self._directory = circles
        self._now = now
        self._queue = SendQueue(store)
        self._profiles = Profiles(store)

    async def queue_key(self, conversation_id: UUID) -> None:
        """Something was said there: whoever does not have the key is told it, whatever happens. Raises Unreachable."""
        if not self._profiles.is_published():
            return
        # Somebody who was made to leave meanwhile tells nobody there.
        with suppress(Refused):
            untold = await self._missing_recipients(conversation_id)
            with self._store.transaction():
                for people in batched(untold, _AT_ONCE):
                    self._queue.add(self._key_for(conversation_id, people))
                for person, devices in untold.items():
                    self._store.put(kinds.PROFILE_KEY_SENT, str(person), devices)

    async def _missing_recipients(self, conversation_id: UUID) -> Mapping[UUID, bytes]:
        """Whoever there was not told on all devices, and the devices."""
        me, found = LocalDevice.load(self._store).user_id, {}
        for person in (await self._directory.get(conversation_id)).members:
            if person != me and changed_key(self._store, person) is None:
                devices = pack((await self._directory.device_list(person)).fingerprint(person))
                if devices != self._store.get(kinds.PROFILE_KEY_SENT, str(person)):
                    found[person] = devices
        return found

    def _key_for(self, conversation_id: UUID, people: Sequence[UUID]) -> Outgoing:
        fields = {"profileKey": encode_base64(LocalDevice.load(self._store).profile_key)}
        content = Content("profileKey", new_id(self._now()), self._now(), conversation_id, fields)
        return Outgoing.to_people(content, self._now(), people, with_own_devices=True)
