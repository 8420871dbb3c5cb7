"""The sealed information of groups (title and more): updated, and its keys distributed to exactly the members.

A device seals only under a key that it made itself, because only then it knows which accounts have it; a removed member does not get the next one.
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
from vyry.client.store.outgoing import RECIPIENTS_PER_POST, Outgoing, SendQueue
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


#: Tries while others change the group at the same time.
_MAX_TRIES: Final = 8

Info = Mapping[str, Any]
Change = Callable[[Info], Info]


class GroupInfo:
    """Reads and updates group information, distributes its keys, and checks groups that have changed."""

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
        #: Held while a group is changed or checked.
        self.lock: Final = asyncio.Lock()

    async def fetch(self, conversation_id: UUID) -> Body:
        """The group as it is now. Raises Refused, Unreachable."""
        response = await self._rest.call("GET", f"/conversations/{conversation_id}")
        self.directory.record(response, conversation_id)
        return response

    def open_info(self, conversation: Info) -> tuple[GroupKey | None, Info]:
        """The information sealed in a conversation as the node reports it, and the key that opened it."""
        try:
            conversation_id = read_uuid(conversation["conversationId"])
            sealed = decode_bytes(conversation["sealedInfo"]) if conversation["sealedInfo"] else b""
        except INVALID_SHAPE:
            return None, {}
        return self.keys.open_info(conversation_id, sealed) if sealed else (None, {})

    async def update_info(self, conversation_id: UUID, change: Change) -> None:
        """Change the information of a group, also while others change it. Raises Refused, Unreachable, TooLarge."""
        for tries_left in reversed(range(_MAX_TRIES)):
            conversation = await self.fetch(conversation_id)
            present, info = self.open_info(conversation)
            own = self._sealing_key(conversation, present)
            sealed = encode_base64(seal_blob(own.key, BlobKind.GROUP_INFO, change(info)))
            body = {"version": conversation["version"], "sealedInfo": sealed}
            try:
                changed = await self._rest.call("PATCH", f"/conversations/{conversation_id}", body)
                self.directory.record(changed, conversation_id)
            except Refused as refused:
                if refused.code != "VERSION_MISMATCH" or not tries_left:
                    raise
            else:
                return

    async def run_tasks(self) -> bool:
        """Run the due tasks; returns whether there were any. Raises Unreachable: the tasks stay due; SessionEnded."""
        await self._recover_pending_groups()
        tasks = self._tasks.pending()
        for task in tasks:
            async with self.lock:
                # A Refusal: the information cannot be sealed again and stays as it is.
                with suppress(Refused, Refusal), rate_limit_as_unreachable():
                    await self.distribute_key(task, await self.fetch(task.conversation_id))
                self._tasks.complete(task)
        return bool(tasks)

    async def _recover_pending_groups(self) -> None:
        """A group whose creation was interrupted before this profile was opened may exist on the node."""
        async with self.lock:
            if self._has_recovered or not self._pending_groups.all():
                return
            self._has_recovered = True
            with suppress(Refused):
                for conversation in await self._rest.list_all("/conversations", "conversations"):
                    self.open_info(conversation)

    async def distribute_key(self, task: GroupTask, conversation: Info) -> None:
        """Send the key of a group to new members, or seal again under a new key after a removal. Raises Refused, Unreachable, a Refusal."""
        key, _ = self.open_info(conversation)
        if key is None:
            return
        people = self._other_members(conversation)
        has_lost = not set(key.told) <= set(people)
        # Only the device that made a key distributes it: so it knows which accounts have it.
        is_replaced = not key.is_own and (task.is_rotating or not set(task.tell).isdisjoint(people))
        if (has_lost or is_replaced) and self._is_admin(conversation):
            await self.update_info(task.conversation_id, lambda info: info)
        elif key.is_own:
            missing = [person for person in people if person in task.tell or person not in key.told]
            if missing or not people:
                with self._store.transaction():
                    self._queue_key(task.conversation_id, key, missing)

    def _sealing_key(self, conversation: Info, present: GroupKey | None) -> GroupKey:
        """The own key, a new one if it is outdated or a former member has it; stored before it is sent."""
        conversation_id, people = UUID(conversation["conversationId"]), self._other_members(conversation)
        own, used = self.keys.newest_own(conversation_id), present.generation if present else 0
        with self._store.transaction():
            if own is None or own.generation < used or not set(own.told) <= set(people):
                newest = max(used, own.generation if own else 0)
                own = new_own_key(min(newest + 1, LAST_GENERATION), secrets.token_bytes(KEY_BYTES))
            missing = [person for person in people if person not in own.told]
            return self._queue_key(conversation_id, own, missing) if missing or not own.told else own

    def _queue_key(self, conversation_id: UUID, key: GroupKey, people: Sequence[UUID]) -> GroupKey:
        """Queue the key for these members and for the account's other devices. Returns the key with its recipients."""
        fields = {"groupKey": encode_base64(key.key), "generation": key.generation}
        content = Content("groupKey", new_id(self._now()), self._now(), conversation_id, fields)
        # Without other members the key goes to the account's other devices alone.
        for some in list(batched(people, RECIPIENTS_PER_POST)) or [()]:
            self._queue.add(Outgoing.to_people(content, self._now(), some, with_own_devices=True))
        updated = replace(key, told=tuple(dict.fromkeys((*key.told, *people))))
        self.keys.save_own(conversation_id, updated)
        return updated

    def _other_members(self, conversation: Info) -> list[UUID]:
        me = LocalDevice.load(self._store).user_id
        return [person for member in conversation["members"] if (person := UUID(member["userId"])) != me]

    def _is_admin(self, conversation: Info) -> bool:
        me = str(LocalDevice.load(self._store).user_id)
        return any(member["userId"] == me and member.get("role") == "admin" for member in conversation["members"])
