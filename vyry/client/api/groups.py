"""Groups: who is in them, and what they are called, which the node cannot read (docs/protocol.md, "Groups"). All of it raises Refused, Unreachable."""

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
    """Makes and changes them. What has to be told to members goes out as soon as the node can be reached: `client.sent()` waits for it."""

    def __init__(self, store: Store, rest: RestClient, info: GroupInfo, request_send: Callable[[], None]) -> None:
        self._store = store
        self._rest = rest
        self._info = info
        self._request_send = request_send
        self._directory = info.directory
        self._tasks = GroupTasks(store)
        self._pending_groups = PendingGroups(store)
        #: Who was invited instead of added by the last `create` or `add` here, by group: strangers come in when they accept, and nothing is sealed for them before.
        self.invited: Final[dict[UUID, tuple[UUID, ...]]] = {}

    async def create(self, member_ids: Sequence[UUID], title: str, *, id: UUID | None = None) -> UUID:
        """A new group with oneself as its admin. Broken off and asked for again, it is made once; under an `id` that was given before, the group of that call is answered. Raises TextTooLong, NothingToSee."""
        async with self._locked():
            name = group_request_key(member_ids, title, id)
            made = self._pending_groups.find_created(name)
            if made is not None and (id is not None or await self._is_member(made)):
                if id is None:
                    self._pending_groups.delete_created(name)
                return made
            with self._store.transaction():
                begun, is_repeat = self._pending_groups.start(member_ids, title, id)
            found = await self._find_created(begun) if is_repeat else None
            said = found or await self._create(begun)
            expected = ExpectedMembers(member_ids, is_new=True, is_first=found is None)
            self._directory.record(said, expected=expected)
            group = UUID(said["conversationId"])
            self._record_invited(group, said)
            await self._complete_task(GroupTask(group), said)
            if id is None:
                self._pending_groups.delete_created(name)
        return group

    async def rename(self, conversation_id: UUID, title: str) -> None:
        """Call it something else. Admins do. Raises TextTooLong, NothingToSee."""
        named = {"title": checked_title(title)}
        async with self._info.lock:
            await self._info.update_info(conversation_id, lambda info: {**info, **named})
        self._request_send()

    async def add(self, conversation_id: UUID, user_ids: Sequence[UUID]) -> None:
        """Take people in; they are told the key of the title, and read nothing older. Admins do."""
        due = GroupTask(conversation_id, tuple(user_ids))
        async with self._locked():
            self._tasks.add(due)
            asked = {"userIds": list(map(str, user_ids))}
            said = await self._rest.call("POST", f"/conversations/{conversation_id}/members", asked)
            self._directory.record(said, conversation_id, expected=ExpectedMembers(user_ids))
            self._record_invited(conversation_id, said)
            await self._complete_task(due, said)

    async def remove(self, conversation_id: UUID, user_id: UUID) -> None:
        """Make somebody go: what is said and what the group is called from now on is closed to them. Admins do."""
        due = GroupTask(conversation_id, is_rotating=True)
        async with self._locked():
            self._tasks.add(due)
            await self._rest.call("DELETE", f"/conversations/{conversation_id}/members/{user_id}")
            await self._complete_task(due, await self._info.fetch(conversation_id))

    async def leave(self, conversation_id: UUID) -> None:
        """Go. The last admin of others hands over first (LAST_ADMIN). What was said stays in the profile."""
        async with self._info.lock:
            await self._rest.call(
                "DELETE", f"/conversations/{conversation_id}/members/{LocalDevice.load(self._store).user_id}"
            )
            with self._store.transaction():
                self._info.keys.delete(conversation_id)
                self._store.put(kinds.MEMBERS, str(conversation_id), None)

    async def set_role(self, conversation_id: UUID, user_id: UUID, role: Literal["admin", "member"]) -> None:
        """Make somebody an admin, or one of the others. Admins do."""
        path = f"/conversations/{conversation_id}/members/{user_id}"
        self._directory.record(await self._rest.call("PATCH", path, {"role": role}), conversation_id)

    async def invite(self, conversation_id: UUID, **limits: Any) -> Body:
        """A token that lets in whoever has it: `expiresInSeconds`, `maxUses`. Admins do."""
        return await self._rest.call("POST", f"/conversations/{conversation_id}/invites", limits)

    async def join(self, token: str) -> UUID:
        """Come in by an invite. The title is told by the device that sealed it, once that is there. Raises LinkCode for the link code of a device; nothing is sent then."""
        check_no_link_code(token)
        said = await self._rest.call("POST", f"/invites/{quote(token, safe='')}/join")
        self._directory.record(said)
        return UUID(said["conversationId"])

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Alone with the groups; what is due is looked after also when the node refused or did not answer."""
        async with self._info.lock:
            try:
                yield
            finally:
                self._request_send()

    def _record_invited(self, group: UUID, said: Body) -> None:
        with self._rest.validated_response():
            self.invited[group] = tuple(map(read_uuid, said.get("invited", ())))

    async def _complete_task(self, due: GroupTask, said: Body) -> None:
        await self._info.distribute_key(due, said)
        self._tasks.complete(due)

    async def _create(self, begun: PendingGroup) -> Body:
        asked = {"kind": "group", "memberIds": list(map(str, begun.members)), "sealedInfo": encode_base64(begun.sealed)}
        try:
            return await self._rest.call("POST", "/conversations", asked)
        except Refused:
            self._pending_groups.delete(begun)
            raise

    async def _is_member(self, conversation_id: UUID) -> bool:
        """Whether this person is still in a group."""
        try:
            await self._rest.call("GET", f"/conversations/{conversation_id}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    async def _find_created(self, begun: PendingGroup) -> Body | None:
        """The group, if the node made it and its answer was lost."""
        for said in await self._rest.list_all("/conversations", "conversations"):
            if said.get("sealedInfo") == encode_base64(begun.sealed):
                return said
        return None


class Invitations:
    """What waits for one's word."""

    def __init__(self, rest: RestClient, circles: MemberDirectory) -> None:
        self._rest = rest
        self._directory = circles

    async def list(self) -> list[Body]:
        """The groups into which one is invited: `conversationId`, `userId` of who invites, `username`, `displayName`, `invitedAt`."""
        return await self._rest.list_all("/conversations/invitations", "invitations")

    async def accept(self, conversation_id: UUID) -> None:
        """Come in. The title is told by the device that sealed it, once that is there."""
        said = await self._rest.call("POST", f"/conversations/invitations/{conversation_id}/accept")
        self._directory.record(said, conversation_id)

    async def decline(self, conversation_id: UUID) -> None:
        """Say no; nobody is told."""
        await self._rest.call("DELETE", f"/conversations/invitations/{conversation_id}")
