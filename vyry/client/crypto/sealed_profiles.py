"""Sealed profiles (name, about): the node stores them and cannot read them. Their key is sent to the people the account writes to, once for their current devices."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.group_keys import read_text_field
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import changed_key
from vyry.client.errors import Refused, TextTooLong
from vyry.client.store import kinds
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.outgoing import RECIPIENTS_PER_POST, Outgoing, SendQueue
from vyry.client.store.packing import pack
from vyry.client.store.store import Store
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.batches import batched
from vyry.kernel.display_text import InvalidText, clean_line, validate_line
from vyry.kernel.ids import new_id
from vyry.signal_protocol.blobs import BlobKind, open_blob, seal_blob
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.refusals import Refusal


#: The fields of a profile, and their limits in characters.
MAX_LENGTHS: Final = {"name": 100, "about": 500}


class Profiles:
    """Seals the own profile, and opens those of others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read_profile(self, response: Mapping[str, Any]) -> dict[str, str | None]:
        """`name` and `about` of an account as the node reports it; None for what is missing, does not open, or is invalid."""
        info = self._open(response)
        return {name: read_text_field(info, name, limit) for name, limit in MAX_LENGTHS.items()}

    def seal_profile(self, response: Mapping[str, Any], changes: Mapping[str, str]) -> str:
        """The own profile with changed texts, for the node. Fields of newer versions stay. Raises TextTooLong, BadContent."""
        info = {**self._open(response), **{name: _checked_text(name, text) for name, text in changes.items()}}
        return encode_base64(seal_blob(LocalDevice.load(self._store).profile_key, BlobKind.PROFILE, info))

    def mark_published(self) -> None:
        """The account shows a profile: from now on its key is sent."""
        self._store.put(kinds.PROFILE_PUBLISHED, "", b"yes")

    def is_published(self) -> bool:
        """Whether the account shows a profile."""
        return self._store.get(kinds.PROFILE_PUBLISHED) is not None

    def _open(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        user_id, me = UUID(response["userId"]), LocalDevice.load(self._store)
        key = me.profile_key if user_id == me.user_id else self._store.get(kinds.PROFILE_KEY, str(user_id))
        try:
            return open_blob(key, BlobKind.PROFILE, decode_bytes(response["sealedProfile"])) if key else {}
        except (Refusal, TypeError, ValueError):
            return {}


def _checked_text(name: str, text: str) -> str:
    """One line as it is sealed; "" removes the text. Raises TextTooLong."""
    try:
        return validate_line(text, MAX_LENGTHS[name]) if clean_line(text) else ""
    except InvalidText as problem:
        raise TextTooLong(name, problem) from None


class ProfileKeySender:
    """Sends the account's profile key."""

    def __init__(self, store: Store, directory: MemberDirectory, now: Callable[[], int]) -> None:
        self._store = store
        self._directory = directory
        self._now = now
        self._queue = SendQueue(store)
        self._profiles = Profiles(store)

    async def queue_key(self, conversation_id: UUID) -> None:
        """A message was sent there: queue the key for every member who does not have it. Raises Unreachable."""
        if not self._profiles.is_published():
            return
        # The account may have been removed meanwhile: then nothing is sent.
        with suppress(Refused):
            missing = await self._missing_recipients(conversation_id)
            with self._store.transaction():
                for people in batched(missing, RECIPIENTS_PER_POST):
                    self._queue.add(self._key_for(conversation_id, people))
                for person, devices in missing.items():
                    self._store.put(kinds.PROFILE_KEY_SENT, str(person), devices)

    async def _missing_recipients(self, conversation_id: UUID) -> Mapping[UUID, bytes]:
        """Members with devices that did not receive the key, and a fingerprint of their devices."""
        me, found = LocalDevice.load(self._store).user_id, {}
        for user_id in (await self._directory.get(conversation_id)).members:
            if user_id != me and changed_key(self._store, user_id) is None:
                devices = pack((await self._directory.device_list(user_id)).fingerprint(user_id))
                if devices != self._store.get(kinds.PROFILE_KEY_SENT, str(user_id)):
                    found[user_id] = devices
        return found

    def _key_for(self, conversation_id: UUID, people: Sequence[UUID]) -> Outgoing:
        fields = {"profileKey": encode_base64(LocalDevice.load(self._store).profile_key)}
        content = Content("profileKey", new_id(self._now()), self._now(), conversation_id, fields)
        return Outgoing.to_people(content, self._now(), people, with_own_devices=True)
