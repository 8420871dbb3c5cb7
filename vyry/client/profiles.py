"""What people show of themselves, sealed: the node keeps it and cannot read it. Its key is told to those whom one writes to, once for the devices that they have."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from vyry.client.chain import octets, text
from vyry.client.circles import Circles
from vyry.client.device import Me
from vyry.client.group_keys import line_in
from vyry.client.outgoing import Outgoing, Queue, new_id
from vyry.client.packing import pack
from vyry.client.peers import PROFILE_TOLD, changed_key
from vyry.client.refusals import Refused, TextTooLong
from vyry.client.store import Store
from vyry.display_text import UnfitText, checked_line, clean_line
from vyry.signal_protocol.blobs import Blob, open_blob, seal_blob
from vyry.signal_protocol.contents import Content, text_of
from vyry.signal_protocol.refusals import Refusal


#: What is shown, and the longest that it may be, in characters.
LONGEST: Final = {"name": 100, "about": 500}
#: The profile keys of others.
KEY: Final = "profile key"
_SHOWN: Final = "profile shown"
#: So many people are told a key in one post: their devices have to fit into a body.
_AT_ONCE: Final = 10


class Profiles:
    """Seals one's own, and opens those of others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def shown(self, said: Mapping[str, Any]) -> dict[str, str | None]:
        """`name` and `about` in an account as the node tells it; None for what is not there, or does not open, or makes no sense."""
        info = self._opened(said)
        return {name: line_in(info, name, most) for name, most in LONGEST.items()}

    def sealed(self, said: Mapping[str, Any], changes: Mapping[str, str]) -> str:
        """One's own account with other words, for the node; nothing takes them away. What a newer version says there stays. Raises TextTooLong, BadContent."""
        info = {**self._opened(said), **{name: _checked(name, words) for name, words in changes.items()}}
        return text(seal_blob(Me.of(self._store).profile_key, Blob.PROFILE, info))

    def note_shown(self) -> None:
        """There is something that one shows: from here on its key is told."""
        self._store.put(_SHOWN, "", b"yes")

    def is_shown(self) -> bool:
        """Whether there is."""
        return self._store.get(_SHOWN) is not None

    def _opened(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        user_id, me = UUID(said["userId"]), Me.of(self._store)
        key = me.profile_key if user_id == me.user_id else self._store.get(KEY, str(user_id))
        try:
            return open_blob(key, Blob.PROFILE, octets(said["sealedProfile"])) if key else {}
        except (Refusal, TypeError, ValueError):
            return {}


def _checked(name: str, words: str) -> str:
    """One line as it is sealed; an empty one takes the words away. Raises TextTooLong."""
    try:
        return checked_line(words, LONGEST[name]) if clean_line(words) else ""
    except UnfitText as problem:
        raise TextTooLong(name, problem) from None


class ProfileTelling:
    """Tells one's own key."""

    def __init__(self, store: Store, circles: Circles, now: Callable[[], int]) -> None:
        self._store = store
        self._circles = circles
        self._now = now
        self._queue = Queue(store)
        self._profiles = Profiles(store)

    async def tell(self, conversation_id: UUID) -> None:
        """Something was said there: whoever does not have the key is told it, whatever happens. Raises Unreachable."""
        if not self._profiles.is_shown():
            return
        # Somebody who was made to leave meanwhile tells nobody there.
        with suppress(Refused):
            untold = await self._untold(conversation_id)
            with self._store.transaction():
                people = list(untold)
                for start in range(0, len(people), _AT_ONCE):
                    self._queue.add(self._key_for(conversation_id, tuple(people[start : start + _AT_ONCE])))
                for person, devices in untold.items():
                    self._store.put(PROFILE_TOLD, str(person), devices)

    async def _untold(self, conversation_id: UUID) -> Mapping[UUID, bytes]:
        """Whoever there was not told on all devices, and the devices."""
        me, found = Me.of(self._store).user_id, {}
        for person in (await self._circles.get(conversation_id)).members:
            if person != me and changed_key(self._store, person) is None:
                devices = pack((await self._circles.devices(person)).fingerprint(person))
                if devices != self._store.get(PROFILE_TOLD, str(person)):
                    found[person] = devices
        return found

    def _key_for(self, conversation_id: UUID, people: tuple[UUID, ...]) -> Outgoing:
        fields = {"profileKey": text_of(Me.of(self._store).profile_key)}
        content = Content("profileKey", new_id(self._now()), self._now(), conversation_id, fields)
        telling = Outgoing.of(content, self._now(), "control")
        return replace(telling, own=telling.plaintext, people=people, is_pairwise=True)
