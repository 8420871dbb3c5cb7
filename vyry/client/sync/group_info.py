"""What groups are called: sealed under a key that exactly those hold who are in them, and told to whoever comes.

A device seals only under a key that it made itself, for then it knows who holds it; somebody who went has no part in the next one.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.group_keys import LAST_GENERATION, GroupKey, GroupKeys, new_own_key
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.errors import Refused
from vyry.client.store.mailbox_chain import decode_bytes
from vyry.client.store.outgoing import Outgoing, SendQueue
from vyry.client.store.pending_groups import GroupTask, GroupTasks, PendingGroups
from vyry.client.store.store import Store
from vyry.client.transport.rest import Body, RestClient, rate_limit_as_unreachable
from vyry.client.transport.validation import INVALID_SHAPE, read_uuid
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.batches import batched
from vyry.kernel.ids import new_id
from vyry.signal_protocol.blobs import BlobKind, seal_blob
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.primitives import KEY_BYTES
from vyry.signal_protocol.refusals import Refusal


#: So often somebody else may change the group at the same time.
_TRIES: Final = 8
#: So many people are told a key in one post: their devices have to fit into a body.
RECIPIENTS_PER_POST: Final = 10
Info = Mapping[str, Any]
Change = Callable[[Info], Info]


class GroupInfo:
    """Seals it, tells its keys, and looks after groups that have changed."""

    def __init__(self, store: Store, rest: RestClient, now: Callable[[], int]) -> None:
        self._store = store
        self._rest = rest
        self._now = now
        self._queue = SendQueue(store)
        self.directory: Final = MemberDirectory(store, rest, now)
        self._tasks = GroupTasks(store)
        self._pending_groups = PendingGroups(store)
        self._has_recovered = False
        self.keys: Final = GroupKeys(store)
        #: Whoever changes a group has this, so that nobody looks after it meanwhile.
        self.lock: Final = asyncio.Lock()

    async def fetch(self, conversation_id: UUID) -> Body:
        """The group as it is now. Raises Refused, Unreachable."""
        said = await self._rest.call("GET", f"/conversations/{conversation_id}")
        self.directory.record(said, conversation_id)
        return said

    def open_info(self, said: Info) -> tuple[GroupKey | None, Info]:
        """What is sealed in a conversation as the node tells it, and the key that opened it."""
        try:
            conversation_id = read_uuid(said["conversationId"])
            sealed = decode_bytes(said["sealedInfo"]) if said["sealedInfo"] else b""
        except INVALID_SHAPE:
            return None, {}
        return self.keys.open_info(conversation_id, sealed) if sealed else (None, {})

    async def update_info(self, conversation_id: UUID, change: Change) -> None:
        """Change what is said of a group, whoever else changes it at the same time. Raises Refused, Unreachable, TooLarge."""
        for left in reversed(range(_TRIES)):
            said = await self.fetch(conversation_id)
            present, info = self.open_info(said)
            own = self._sealing_key(said, present)
            sealed = encode_base64(seal_blob(own.key, BlobKind.GROUP_INFO, change(info)))
            body = {"version": said["version"], "sealedInfo": sealed}
            try:
                changed = await self._rest.call("PATCH", f"/conversations/{conversation_id}", body)
                self.directory.record(changed, conversation_id)
            except Refused as refused:
                if refused.code != "VERSION_MISMATCH" or not left:
                    raise
            else:
                return

    async def run_tasks(self) -> bool:
        """Do what is due; says whether anything was. Raises Unreachable: then it stays due; SessionEnded."""
        await self._recover_pending_groups()
        found = self._tasks.pending()
        for due in found:
            async with self.lock:
                # A Refusal: the information cannot be sealed again and stays as it is.
                with suppress(Refused, Refusal), rate_limit_as_unreachable():
                    await self.distribute_key(due, await self.fetch(due.conversation_id))
                self._tasks.complete(due)
        return bool(found)

    async def _recover_pending_groups(self) -> None:
        """A group that was begun before this was opened, and whose answer never came, may be there."""
        async with self.lock:
            if self._has_recovered or not self._pending_groups.all():
                return
            self._has_recovered = True
            with suppress(Refused):
                for said in await self._rest.list_all("/conversations", "conversations"):
                    self.open_info(said)

    async def distribute_key(self, due: GroupTask, said: Info) -> None:
        """In a group as it is now, tell the key to whoever came, or seal anew when somebody went. Raises Refused, Unreachable, a Refusal."""
        key, _ = self.open_info(said)
        if key is None:
            return
        people = self._other_members(said)
        has_lost = not set(key.told) <= set(people)
        # A key of somebody else is told by nobody but them: only so they know who holds it.
        is_replaced = not key.is_own and (due.is_rotating or not set(due.tell).isdisjoint(people))
        if (has_lost or is_replaced) and self._is_admin(said):
            await self.update_info(due.conversation_id, lambda info: info)
        elif key.is_own:
            untold = [person for person in people if person in due.tell or person not in key.told]
            if untold or not people:
                with self._store.transaction():
                    self._queue_key(due.conversation_id, key, untold)

    def _sealing_key(self, said: Info, present: GroupKey | None) -> GroupKey:
        """The own key, a new one when it is outdated or somebody gone holds it; kept here before anybody is told."""
        conversation_id, people = UUID(said["conversationId"]), self._other_members(said)
        own, used = self.keys.newest_own(conversation_id), present.generation if present else 0
        with self._store.transaction():
            if own is None or own.generation < used or not set(own.told) <= set(people):
                newest = max(used, own.generation if own else 0)
                own = new_own_key(min(newest + 1, LAST_GENERATION), secrets.token_bytes(KEY_BYTES))
            untold = [person for person in people if person not in own.told]
            return self._queue_key(conversation_id, own, untold) if untold or not own.told else own

    def _queue_key(self, conversation_id: UUID, key: GroupKey, people: Sequence[UUID]) -> GroupKey:
        """From here on it is told to them, and to one's own other devices, whatever happens."""
        fields = {"groupKey": encode_base64(key.key), "generation": key.generation}
        content = Content("groupKey", new_id(self._now()), self._now(), conversation_id, fields)
        # A key that nobody else is told goes to one's own other devices alone.
        for some in list(batched(people, RECIPIENTS_PER_POST)) or [()]:
            self._queue.add(Outgoing.to_people(content, self._now(), some, with_own_devices=True))
        told = replace(key, told=tuple(dict.fromkeys((*key.told, *people))))
        self.keys.save_own(conversation_id, told)
        return told

    def _other_members(self, said: Info) -> list[UUID]:
        me = LocalDevice.load(self._store).user_id
        return [person for member in said["members"] if (person := UUID(member["userId"])) != me]

    def _is_admin(self, said: Info) -> bool:
        me = str(LocalDevice.load(self._store).user_id)
        return any(member["userId"] == me and member.get("role") == "admin" for member in said["members"])
