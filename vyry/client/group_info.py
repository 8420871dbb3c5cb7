"""What groups are called: sealed under a key that exactly those hold who are in them, and told to whoever comes.

A device seals only under a key that it made itself, for then it knows who holds it; somebody who went has no part in the next one.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from vyry.client.chain import octets, text
from vyry.client.circles import Circles
from vyry.client.device import Me
from vyry.client.group_begun import Beginnings
from vyry.client.group_due import Due, Dues
from vyry.client.group_keys import LAST_GENERATION, GroupKey, GroupKeys, own_key
from vyry.client.outgoing import Outgoing, Queue, new_id
from vyry.client.refusals import Refused, Unreachable
from vyry.client.rest import Body, Rest
from vyry.client.shapes import STRANGE, identifier
from vyry.client.store import Store
from vyry.signal_protocol.blobs import Blob, seal_blob
from vyry.signal_protocol.contents import Content, text_of
from vyry.signal_protocol.primitives import KEY_BYTES
from vyry.signal_protocol.refusals import Refusal


#: So often somebody else may change the group at the same time.
_TRIES: Final = 8
#: So many people are told a key in one post: their devices have to fit into a body.
TOLD_AT_ONCE: Final = 10
Info = Mapping[str, Any]
Change = Callable[[Info], Info]


class GroupInfo:
    """Seals it, tells its keys, and looks after groups that have changed."""

    def __init__(self, store: Store, rest: Rest, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._queue = Queue(store)
        self.circles: Final = Circles(store, rest, now)
        self._dues = Dues(store)
        self._beginnings = Beginnings(store)
        self._has_looked_back = False
        self.keys: Final = GroupKeys(store)
        #: Whoever changes a group has this, so that nobody looks after it meanwhile.
        self.turn: Final = asyncio.Lock()

    async def look(self, conversation_id: UUID) -> Body:
        """The group as it is now. Raises Refused, Unreachable."""
        said = await self._rest.call("GET", f"/conversations/{conversation_id}")
        self.circles.keep(said, conversation_id)
        return said

    def opened(self, said: Info) -> tuple[GroupKey | None, Info]:
        """What is sealed in a conversation as the node tells it, and the key that opened it."""
        try:
            conversation_id = identifier(said["conversationId"])
            sealed = octets(said["sealedInfo"]) if said["sealedInfo"] else b""
        except STRANGE:
            return None, {}
        return self.keys.opened(conversation_id, sealed) if sealed else (None, {})

    async def seal(self, conversation_id: UUID, change: Change) -> None:
        """Change what is said of a group, whoever else changes it at the same time. Raises Refused, Unreachable, TooLarge."""
        for left in reversed(range(_TRIES)):
            said = await self.look(conversation_id)
            present, info = self.opened(said)
            own = self._sealing_key(said, present)
            sealed = text(seal_blob(own.key, Blob.GROUP_INFO, change(info)))
            body = {"version": said["version"], "sealedInfo": sealed}
            try:
                changed = await self._rest.call("PATCH", f"/conversations/{conversation_id}", body)
                self.circles.keep(changed, conversation_id)
            except Refused as refused:
                if refused.code != "VERSION_MISMATCH" or not left:
                    raise
            else:
                return

    async def tend(self) -> bool:
        """Do what is due; says whether anything was. Raises Unreachable: then it stays due; SessionEnded."""
        await self._look_back()
        found = self._dues.due()
        for due in found:
            async with self.turn:
                try:
                    await self.settle(due, await self.look(due.conversation_id))
                except Refused as refused:
                    if refused.code == "RATE_LIMITED":
                        raise Unreachable(str(refused), refused.body.get("retry_after_seconds")) from None
                except Refusal:
                    # What is said there cannot be sealed again: it stays as it is.
                    pass
                self._dues.done(due)
        return bool(found)

    async def _look_back(self) -> None:
        """A group that was begun before this was opened, and whose answer never came, may be there."""
        async with self.turn:
            if self._has_looked_back or not self._beginnings.all():
                return
            self._has_looked_back = True
            with suppress(Refused):
                for said in await self._rest.pages("/conversations", "conversations"):
                    self.opened(said)

    async def settle(self, due: Due, said: Info) -> None:
        """In a group as it is now, tell the key to whoever came, or seal anew when somebody went. Raises Refused, Unreachable, a Refusal."""
        key, _ = self.opened(said)
        if key is None:
            return
        people = self._others(said)
        has_lost = not set(key.told) <= set(people)
        # A key of somebody else is told by nobody but them: only so they know who holds it.
        is_replaced = not key.is_own and (due.is_rotating or not set(due.tell).isdisjoint(people))
        if (has_lost or is_replaced) and self._is_admin(said):
            await self.seal(due.conversation_id, lambda info: info)
        elif key.is_own:
            untold = [person for person in people if person in due.tell or person not in key.told]
            if untold or not people:
                with self._store.transaction():
                    self._tell(due.conversation_id, key, untold)

    def _sealing_key(self, said: Info, present: GroupKey | None) -> GroupKey:
        """The own key, a new one when it is outdated or somebody gone holds it; kept here before anybody is told."""
        conversation_id, people = UUID(said["conversationId"]), self._others(said)
        own, used = self.keys.own(conversation_id), present.generation if present else 0
        with self._store.transaction():
            if own is None or own.generation < used or not set(own.told) <= set(people):
                newest = max(used, own.generation if own else 0)
                own = own_key(min(newest + 1, LAST_GENERATION), secrets.token_bytes(KEY_BYTES))
            untold = [person for person in people if person not in own.told]
            return self._tell(conversation_id, own, untold) if untold or not own.told else own

    def _tell(self, conversation_id: UUID, key: GroupKey, people: Sequence[UUID]) -> GroupKey:
        """From here on it is told to them, and to one's own other devices, whatever happens."""
        fields = {"groupKey": text_of(key.key), "generation": key.generation}
        content = Content("groupKey", new_id(self._now()), self._now(), conversation_id, fields)
        # A key that nobody else is told goes to one's own other devices alone.
        for some in list(_chunks(people)) or [()]:
            telling = Outgoing.of(content, self._now(), "control")
            self._queue.add(replace(telling, own=telling.plaintext, people=tuple(some), is_pairwise=True))
        told = replace(key, told=tuple(dict.fromkeys((*key.told, *people))))
        self.keys.keep_own(conversation_id, told)
        return told

    def _others(self, said: Info) -> list[UUID]:
        me = Me.of(self._store).user_id
        return [person for member in said["members"] if (person := UUID(member["userId"])) != me]

    def _is_admin(self, said: Info) -> bool:
        me = str(Me.of(self._store).user_id)
        return any(member["userId"] == me and member.get("role") == "admin" for member in said["members"])


def _chunks(people: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for place in range(0, len(people), TOLD_AT_ONCE):
        yield people[place : place + TOLD_AT_ONCE]
