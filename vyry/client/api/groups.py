"""Groups and invitations to groups (docs/protocol.md, "Groups"). The node cannot read titles. Every method raises Refused, Unreachable."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

from vyry.client.api.linking import check_no_link_code
from vyry.client.crypto.conversation_members import ExpectedMembers, MemberDirectory
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.errors import Refused
from vyry.client.store import kinds
from vyry.client.store.pending_groups import (
    GroupTask,
    GroupTasks,
    PendingGroup,
    PendingGroups,
    checked_title,
    group_request_key,
)
from vyry.client.store.store import Store
from vyry.client.sync.group_info import GroupInfo
from vyry.client.transport.rest import Body, RestClient
from vyry.client.transport.validation import read_uuid
from vyry.kernel.base64_text import encode_base64


class Groups:
    """Creates and changes groups. Keys for members are queued and sent as soon as the node is reachable: `client.sent()` waits for them."""

    def __init__(self, store: Store, rest: RestClient, info: GroupInfo, request_send: Callable[[], None]) -> None:
        self._store = store
        self._rest = rest
        self._info = info
        self._request_send = request_send
        self._directory = info.directory
        self._tasks = GroupTasks(store)
        self._pending_groups = PendingGroups(store)
        #: By group: accounts that the last `create` or `add` invited instead of added. They join when they accept; nothing is sealed for them before.
        self.invited: Final[dict[UUID, tuple[UUID, ...]]] = {}

    async def create(self, member_ids: Sequence[UUID], title: str, *, id: UUID | None = None) -> UUID:
        """Create a group with this account as admin. Repeated after an interruption, it creates one group; an `id` that was used before returns the group of that call. Raises TextTooLong, NothingToSee."""
        async with self._locked():
            request_key = group_request_key(member_ids, title, id)
            created = self._pending_groups.find_created(request_key)
            if created is not None and (id is not None or await self._is_member(created)):
                if id is None:
                    self._pending_groups.delete_created(request_key)
                return created
            with self._store.transaction():
                pending, is_repeat = self._pending_groups.start(member_ids, title, id)
            recovered = await self._find_created(pending) if is_repeat else None
            response = recovered or await self._create(pending)
            expected = ExpectedMembers(member_ids, is_new=True, is_first=recovered is None)
            self._directory.record(response, expected=expected)
            group = UUID(response["conversationId"])
            self._record_invited(group, response)
            await self._complete_task(GroupTask(group), response)
            if id is None:
                self._pending_groups.delete_created(request_key)
        return group

    async def rename(self, conversation_id: UUID, title: str) -> None:
        """Change the title. Admins only. Raises TextTooLong, NothingToSee."""
        named = {"title": checked_title(title)}
        async with self._info.lock:
            await self._info.update_info(conversation_id, lambda info: {**info, **named})
        self._request_send()

    async def add(self, conversation_id: UUID, user_ids: Sequence[UUID]) -> None:
        """Add members; they receive the key of the title and cannot read older messages. Admins only."""
        task = GroupTask(conversation_id, tuple(user_ids))
        async with self._locked():
            self._tasks.add(task)
            body = {"userIds": list(map(str, user_ids))}
            response = await self._rest.call("POST", f"/conversations/{conversation_id}/members", body)
            self._directory.record(response, conversation_id, expected=ExpectedMembers(user_ids))
            self._record_invited(conversation_id, response)
            await self._complete_task(task, response)

    async def remove(self, conversation_id: UUID, user_id: UUID) -> None:
        """Remove a member, who cannot read later messages and titles. Admins only."""
        task = GroupTask(conversation_id, is_rotating=True)
        async with self._locked():
            self._tasks.add(task)
            await self._rest.call("DELETE", f"/conversations/{conversation_id}/members/{user_id}")
            await self._complete_task(task, await self._info.fetch(conversation_id))

    async def leave(self, conversation_id: UUID) -> None:
        """Leave the group. The last admin has to appoint another one first (LAST_ADMIN). The history stays in the profile."""
        async with self._info.lock:
            await self._rest.call(
                "DELETE", f"/conversations/{conversation_id}/members/{LocalDevice.load(self._store).user_id}"
            )
            with self._store.transaction():
                self._info.keys.delete(conversation_id)
                self._store.put(kinds.MEMBERS, str(conversation_id), None)

    async def set_role(self, conversation_id: UUID, user_id: UUID, role: Literal["admin", "member"]) -> None:
        """Make a member an admin or an ordinary member. Admins only."""
        path = f"/conversations/{conversation_id}/members/{user_id}"
        self._directory.record(await self._rest.call("PATCH", path, {"role": role}), conversation_id)

    async def invite(self, conversation_id: UUID, **limits: Any) -> Body:
        """An invite token that admits anyone who has it: `expiresInSeconds`, `maxUses`. Admins only."""
        return await self._rest.call("POST", f"/conversations/{conversation_id}/invites", limits)

    async def join(self, token: str) -> UUID:
        """Join by an invite token. The title's key is sent by the device that sealed it, when it is online. Raises LinkCode for the link code of a device; nothing is sent then."""
        check_no_link_code(token)
        response = await self._rest.call("POST", f"/invites/{quote(token, safe='')}/join")
        self._directory.record(response)
        return UUID(response["conversationId"])

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Holds the lock of all groups; queued work is started also when the node refused or did not answer."""
        async with self._info.lock:
            try:
                yield
            finally:
                self._request_send()

    def _record_invited(self, group: UUID, response: Body) -> None:
        with self._rest.validated_response():
            self.invited[group] = tuple(map(read_uuid, response.get("invited", ())))

    async def _complete_task(self, task: GroupTask, response: Body) -> None:
        await self._info.distribute_key(task, response)
        self._tasks.complete(task)

    async def _create(self, pending: PendingGroup) -> Body:
        body = {
            "kind": "group",
            "memberIds": list(map(str, pending.members)),
            "sealedInfo": encode_base64(pending.sealed),
        }
        try:
            return await self._rest.call("POST", "/conversations", body)
        except Refused:
            self._pending_groups.delete(pending)
            raise

    async def _is_member(self, conversation_id: UUID) -> bool:
        """Whether this account is still in a group."""
        try:
            await self._rest.call("GET", f"/conversations/{conversation_id}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    async def _find_created(self, pending: PendingGroup) -> Body | None:
        """The group, if the node created it and its response was lost."""
        for response in await self._rest.list_all("/conversations", "conversations"):
            if response.get("sealedInfo") == encode_base64(pending.sealed):
                return response
        return None


class Invitations:
    """Invitations to groups by accounts that are no contacts."""

    def __init__(self, rest: RestClient, directory: MemberDirectory) -> None:
        self._rest = rest
        self._directory = directory

    async def list(self) -> list[Body]:
        """Open invitations: `conversationId`, `userId` of the inviter, `username`, `displayName`, `invitedAt`."""
        return await self._rest.list_all("/conversations/invitations", "invitations")

    async def accept(self, conversation_id: UUID) -> None:
        """Join. The title's key is sent by the device that sealed it, when it is online."""
        response = await self._rest.call("POST", f"/conversations/invitations/{conversation_id}/accept")
        self._directory.record(response, conversation_id)

    async def decline(self, conversation_id: UUID) -> None:
        """Decline; the inviter is not notified."""
        await self._rest.call("DELETE", f"/conversations/invitations/{conversation_id}")
