"""Groups: who is in them, and what they are called, which the node cannot read (docs/protocol.md, "Groups"). All of it raises Refused, Unreachable."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

from vyry.client.chain import text
from vyry.client.circles import Expected
from vyry.client.device import Me
from vyry.client.group_begun import Beginnings, Begun, checked, wish
from vyry.client.group_due import Due, Dues
from vyry.client.group_info import GroupInfo
from vyry.client.link_codes import check_no_link_code
from vyry.client.refusals import Refused
from vyry.client.rest import Body, Rest
from vyry.client.shapes import identifier
from vyry.client.store import Store


class Groups:
    """Makes and changes them. What has to be told to members goes out as soon as the node can be reached: `client.sent()` waits for it."""

    def __init__(self, store: Store, rest: Rest, info: GroupInfo, wake: Callable[[], None]) -> None:
        self._store = store
        self._rest = rest
        self._info = info
        self._wake = wake
        self._circles = info.circles
        self._dues = Dues(store)
        self._beginnings = Beginnings(store)
        #: Who was invited instead of added by the last `create` or `add` here, by group: strangers come in when they accept, and nothing is sealed for them before.
        self.invited: Final[dict[UUID, tuple[UUID, ...]]] = {}

    async def create(self, member_ids: Sequence[UUID], title: str, *, id: UUID | None = None) -> UUID:
        """A new group with oneself as its admin. Broken off and asked for again, it is made once; under an `id` that was given before, the group of that call is answered. Raises TextTooLong, NothingToSee."""
        async with self._changing():
            name = wish(member_ids, title, id)
            made = self._beginnings.made(name)
            if made is not None and (id is not None or await self._is_there(made)):
                if id is None:
                    self._beginnings.answered(name)
                return made
            with self._store.transaction():
                begun, is_repeat = self._beginnings.begin(member_ids, title, id)
            found = await self._found(begun) if is_repeat else None
            said = found or await self._made(begun)
            expected = Expected(member_ids, is_new=True, is_first=found is None)
            self._circles.keep(said, expected=expected)
            group = UUID(said["conversationId"])
            self._note_invited(group, said)
            await self._settle(Due(group), said)
            if id is None:
                self._beginnings.answered(name)
        return group

    async def rename(self, conversation_id: UUID, title: str) -> None:
        """Call it something else. Admins do. Raises TextTooLong, NothingToSee."""
        named = {"title": checked(title)}
        async with self._info.turn:
            await self._info.seal(conversation_id, lambda info: {**info, **named})
        self._wake()

    async def add(self, conversation_id: UUID, user_ids: Sequence[UUID]) -> None:
        """Take people in; they are told the key of the title, and read nothing older. Admins do."""
        due = Due(conversation_id, tuple(user_ids))
        async with self._changing():
            self._dues.note(due)
            asked = {"userIds": list(map(str, user_ids))}
            said = await self._rest.call("POST", f"/conversations/{conversation_id}/members", asked)
            self._circles.keep(said, conversation_id, expected=Expected(user_ids))
            self._note_invited(conversation_id, said)
            await self._settle(due, said)

    async def remove(self, conversation_id: UUID, user_id: UUID) -> None:
        """Make somebody go: what is said and what the group is called from now on is closed to them. Admins do."""
        due = Due(conversation_id, is_rotating=True)
        async with self._changing():
            self._dues.note(due)
            await self._rest.call("DELETE", f"/conversations/{conversation_id}/members/{user_id}")
            await self._settle(due, await self._info.look(conversation_id))

    async def leave(self, conversation_id: UUID) -> None:
        """Go. The last admin of others hands over first (LAST_ADMIN). What was said stays in the profile."""
        async with self._info.turn:
            await self._rest.call("DELETE", f"/conversations/{conversation_id}/members/{Me.of(self._store).user_id}")
            with self._store.transaction():
                self._info.keys.forget(conversation_id)
                self._store.put("conversation", str(conversation_id), None)

    async def set_role(self, conversation_id: UUID, user_id: UUID, role: Literal["admin", "member"]) -> None:
        """Make somebody an admin, or one of the others. Admins do."""
        path = f"/conversations/{conversation_id}/members/{user_id}"
        self._circles.keep(await self._rest.call("PATCH", path, {"role": role}), conversation_id)

    async def invite(self, conversation_id: UUID, **limits: Any) -> Body:
        """A token that lets in whoever has it: `expiresInSeconds`, `maxUses`. Admins do."""
        return await self._rest.call("POST", f"/conversations/{conversation_id}/invites", limits)

    async def join(self, token: str) -> UUID:
        """Come in by an invite. The title is told by the device that sealed it, once that is there. Raises LinkCode for the link code of a device; nothing is sent then."""
        check_no_link_code(token)
        said = await self._rest.call("POST", f"/invites/{quote(token, safe='')}/join")
        self._circles.keep(said)
        return UUID(said["conversationId"])

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Alone with the groups; what is due is looked after also when the node refused or did not answer."""
        async with self._info.turn:
            try:
                yield
            finally:
                self._wake()

    def _note_invited(self, group: UUID, said: Body) -> None:
        with self._rest.shaped():
            self.invited[group] = tuple(map(identifier, said.get("invited", ())))

    async def _settle(self, due: Due, said: Body) -> None:
        await self._info.settle(due, said)
        self._dues.done(due)

    async def _made(self, begun: Begun) -> Body:
        asked = {"kind": "group", "memberIds": list(map(str, begun.members)), "sealedInfo": text(begun.sealed)}
        try:
            return await self._rest.call("POST", "/conversations", asked)
        except Refused:
            self._beginnings.drop(begun)
            raise

    async def _is_there(self, conversation_id: UUID) -> bool:
        """Whether this person is still in a group."""
        try:
            await self._rest.call("GET", f"/conversations/{conversation_id}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    async def _found(self, begun: Begun) -> Body | None:
        """The group, if the node made it and its answer was lost."""
        for said in await self._rest.pages("/conversations", "conversations"):
            if said.get("sealedInfo") == text(begun.sealed):
                return said
        return None
