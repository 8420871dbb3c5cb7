"""Groups: who belongs to one, who may change it, and what a change of it is.

Theory: every change is a pure function from the conversation as it is to the conversation as it is to be. The store runs it under the lock of that
conversation, so the rules below hold whoever races: there is always an admin, never more than `MAX_MEMBERS` members, and `version` rises with each change.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from vyry.clock import Clock
from vyry.contacts.blocks import ConversationListener
from vyry.conversations.conversations import (
    Conversation,
    ConversationKind,
    ConversationSource,
    Member,
    OpenedConversation,
    Role,
)
from vyry.errors import Forbidden, InvalidRequest, LastAdmin, NotFound, VersionMismatch
from vyry.kernel.ids import ConversationId, UserId
from vyry.limits import CONVERSATION_CHANGES, GROUP_MEMBERS, GROUPS, NEW_CONTACTS, Grant, Limiter


MAX_MEMBERS: Final = 1_000
#: So many groups somebody belongs to at most.
MAX_GROUPS: Final = 1_000

#: Makes of a conversation what it is to be. Raises the refusal when that may not be; answering the same conversation changes nothing.
ConversationChange = Callable[[Conversation], Conversation]


@dataclass(frozen=True, slots=True)
class ConversationEdit:
    """What is to be said of a conversation whose version the editor believes to be `version`."""

    version: int
    changes_info: bool
    sealed_info: bytes | None
    changes_timer: bool
    message_timer_seconds: int | None


@dataclass(frozen=True, slots=True)
class MemberCandidate:
    """How somebody stands to who wants to add them. `is_open`: friends, or open to everybody. `is_met`: friends, or together in a conversation.

    `is_acquainted`: friends, or they have themselves written in the direct conversation of the two. All others are invited and not added.
    """

    accepts_contact: bool
    is_known: bool
    can_add_directly: bool


@dataclass(frozen=True, slots=True)
class MemberPage:
    """A part of the members, by rising id; `next_cursor` is None at the end."""

    members: Mapping[UserId, Member]
    next_cursor: UserId | None


class GroupStore(ConversationSource, Protocol):
    """Where groups are kept. Every change notifies the members."""

    async def create(
        self,
        creator: UserId,
        others: Collection[UserId],
        invited: Collection[UserId],
        sealed_info: bytes | None,
        now: datetime,
    ) -> Conversation:
        """A new group with an admin, and invitations into it. Raises NotFound when one of the others is not there, Forbidden when one is in `MAX_GROUPS` groups."""
        ...

    async def invite(
        self, admin: UserId, conversation_id: ConversationId, users: Collection[UserId], now: datetime
    ) -> None:
        """Have these invited, unless they are; a member is not. For whom nothing waited, they are told. Raises NotFound, Forbidden (no admin any more)."""
        ...

    async def change(self, conversation_id: ConversationId, change: ConversationChange, now: datetime) -> Conversation:
        """Change it under its lock, and answer it as it is then. When no member is left, it is gone.

        In the same transaction the members, and who is none any more, are set to be told. Once this is answered, no post is accepted on any node
        that was checked against the version before. Raises NotFound when there is no such conversation or one of the new members is not there,
        Forbidden when one of them is in `MAX_GROUPS` groups, and what `change` raises.
        """
        ...

    async def load_candidates(self, adder: UserId, users: Collection[UserId]) -> dict[UserId, MemberCandidate]:
        """How these people stand to somebody. To whom one of them is unknown, or blocks them, for them that one is absent."""
        ...


class Groups:
    """What a person may do with groups."""

    def __init__(self, store: GroupStore, changes: ConversationListener, limiter: Limiter, clock: Clock) -> None:
        self._store = store
        self._listener = changes
        self._limiter = limiter
        self._clock = clock

    async def create(self, creator: UserId, others: Sequence[UserId], sealed_info: bytes | None) -> OpenedConversation:
        """A new group, with its creator as admin. Raises InvalidRequest, NotFound, Forbidden, RateLimited."""
        if creator in others:
            raise InvalidRequest(fields=[{"field": "memberIds", "problem": "one of them is yourself"}])
        known, invited, grants = await self._sort_candidates(creator, others, makes=1)
        group = await self._store.create(creator, known, invited, sealed_info, self._clock.now())
        return OpenedConversation(group, is_new=True, grants=grants, invited=invited)

    async def charge_change(self, changer: UserId) -> Grant:
        """Count an edit, a change of a role or a join, before anything of it is read: all members are told of each. Raises RateLimited."""
        return await self._limiter.consume(CONVERSATION_CHANGES, str(changer))

    async def edit(self, editor: UserId, conversation_id: ConversationId, edit: ConversationEdit) -> Conversation:
        """Change what is said of it: admins do, and either of two. Raises NotFound, Forbidden, VersionMismatch."""
        return await self._change(conversation_id, lambda present: apply_edit(present, editor, edit))

    async def add(self, adder: UserId, conversation_id: ConversationId, users: Sequence[UserId]) -> OpenedConversation:
        """Make these people members, have strangers invited; who is a member stays what they are. Raises NotFound, Forbidden, InvalidRequest, RateLimited."""
        present = await self._load_for_member(adder, conversation_id)
        now = self._clock.now()
        # Refused here, nobody is looked at and nothing is counted; it is asked again under the lock.
        add_members_as_admin(present, adder, users, now)
        members = [user for user in users if user in present.members]
        known, invited, grants = await self._sort_candidates(adder, [user for user in users if user not in members])
        known += members
        group = await self._change(
            conversation_id, lambda conversation: add_members_as_admin(conversation, adder, known, now)
        )
        if invited:
            await self._store.invite(adder, conversation_id, invited, now)
        return OpenedConversation(group, is_new=False, grants=grants, invited=invited)

    async def remove(self, remover: UserId, conversation_id: ConversationId, user: UserId) -> None:
        """Somebody goes, or is made to go. Raises NotFound, Forbidden, LastAdmin."""
        await self._change(conversation_id, lambda present: remove_member(present, remover, user))

    async def set_role(self, admin: UserId, conversation_id: ConversationId, user: UserId, role: Role) -> Conversation:
        """Give a member another role. Raises NotFound, Forbidden, LastAdmin."""
        return await self._change(conversation_id, lambda present: assign_role(present, admin, user, role))

    async def members(
        self, viewer: UserId, conversation_id: ConversationId, limit: int, after: UserId | None
    ) -> MemberPage:
        """The members by rising id, from just after the one named. Raises NotFound."""
        members = (await self._load_for_member(viewer, conversation_id)).members
        rest = sorted(user for user in members if after is None or user > after)
        page = {user: members[user] for user in rest[:limit]}
        return MemberPage(page, rest[limit - 1] if len(rest) > limit else None)

    async def _load_for_member(self, viewer: UserId, conversation_id: ConversationId) -> Conversation:
        present = (await self._store.load([conversation_id])).get(conversation_id)
        if present is None:
            raise NotFound
        check_member(present, viewer)
        return present

    async def _sort_candidates(
        self, adder: UserId, users: Collection[UserId], makes: int = 0
    ) -> tuple[list[UserId], list[UserId], list[tuple[str, Grant]]]:
        """Who of these is added, who is invited, and what the limits leave. Those never met count as new contacts. Raises NotFound, Forbidden, RateLimited."""
        contacts = await self._store.load_candidates(adder, users) if users else {}
        if contacts.keys() != set(users):
            raise NotFound
        if not all(contact.accepts_contact for contact in contacts.values()):
            raise Forbidden("One of them is added by friends only.")
        strangers = sum(not contact.is_known for contact in contacts.values())
        costs = {NEW_CONTACTS: strangers, GROUPS: makes, GROUP_MEMBERS: len(users)}
        grants = [
            (quota.name, await self._limiter.consume(quota, str(adder), cost)) for quota, cost in costs.items() if cost
        ]
        known = [user for user in users if contacts[user].can_add_directly]
        return known, [user for user in users if not contacts[user].can_add_directly], grants

    async def _change(self, conversation_id: ConversationId, change: ConversationChange) -> Conversation:
        altered = await self._store.change(conversation_id, change, self._clock.now())
        await self._listener.conversations_changed([conversation_id])
        return altered


def check_member(conversation: Conversation, user: UserId) -> None:
    """To outsiders there is no such conversation: NotFound."""
    if user not in conversation.members:
        raise NotFound


def check_admin(conversation: Conversation, user: UserId) -> None:
    """Raises NotFound for outsiders, Forbidden for members who are no admin."""
    check_member(conversation, user)
    if conversation.members[user].role is not Role.ADMIN:
        raise Forbidden("Only an admin of the group may do this.")


def apply_edit(conversation: Conversation, editor: UserId, edit: ConversationEdit) -> Conversation:
    """With another title or timer. Raises NotFound, Forbidden, VersionMismatch."""
    check_member(conversation, editor)
    if conversation.kind is ConversationKind.GROUP:
        check_admin(conversation, editor)
    if edit.version != conversation.version:
        raise VersionMismatch(conversation.version)
    return replace(
        conversation,
        sealed_info=edit.sealed_info if edit.changes_info else conversation.sealed_info,
        message_timer_seconds=(
            edit.message_timer_seconds if edit.changes_timer else conversation.message_timer_seconds
        ),
    )


def add_members_as_admin(
    conversation: Conversation, adder: UserId, users: Collection[UserId], now: datetime
) -> Conversation:
    """With these members more. Raises NotFound, Forbidden, InvalidRequest."""
    check_admin(conversation, adder)
    grown = add_members(conversation, users, now)
    if len(grown.members) > MAX_MEMBERS:
        problem = f"a group has at most {MAX_MEMBERS} members, this one would have {len(grown.members)}"
        raise InvalidRequest(fields=[{"field": "userIds", "problem": problem}])
    return grown


def add_members(conversation: Conversation, users: Collection[UserId], now: datetime) -> Conversation:
    """With these members, as plain ones where they are new."""
    new = {user: Member(Role.MEMBER, now) for user in users if user not in conversation.members}
    return replace(conversation, members={**conversation.members, **new}) if new else conversation


def remove_member(conversation: Conversation, remover: UserId, user: UserId) -> Conversation:
    """Without this member: oneself, or anybody else if one is an admin. Raises NotFound, Forbidden, LastAdmin."""
    check_member(conversation, remover)
    if conversation.kind is ConversationKind.DIRECT:
        raise Forbidden("A direct conversation has two members.")
    if remover != user:
        check_admin(conversation, remover)
    check_member(conversation, user)
    rest = {each: member for each, member in conversation.members.items() if each != user}
    return _check_has_admin(replace(conversation, members=rest)) if rest else replace(conversation, members=rest)


def assign_role(conversation: Conversation, admin: UserId, user: UserId, role: Role) -> Conversation:
    """With another role of this member. Raises NotFound, Forbidden, LastAdmin."""
    check_admin(conversation, admin)
    check_member(conversation, user)
    member = conversation.members[user]
    if member.role is role:
        return conversation
    return _check_has_admin(replace(conversation, members={**conversation.members, user: replace(member, role=role)}))


def _check_has_admin(conversation: Conversation) -> Conversation:
    if not any(member.role is Role.ADMIN for member in conversation.members.values()):
        raise LastAdmin
    return conversation
