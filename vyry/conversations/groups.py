"""Groups: members, roles and changes.

Theory: a change is a pure function from the current conversation to the new one. The store runs it under the row lock of the conversation, so these rules
hold under concurrent changes: a group has at least one admin and at most `MAX_MEMBERS` members, and `version` rises with each change.
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
    load_as_member,
)
from vyry.errors import Forbidden, InvalidRequest, LastAdmin, NotFound, VersionMismatch
from vyry.kernel.ids import ConversationId, UserId
from vyry.limits import CONVERSATION_CHANGES, GROUP_MEMBERS, GROUPS, NEW_CONTACTS, Grant, Limiter


MAX_MEMBERS: Final = 1_000
#: The most groups of an account.
MAX_GROUPS: Final = 1_000

#: Returns the changed conversation, or raises if the change is not allowed. Returning the same conversation changes nothing.
ConversationChange = Callable[[Conversation], Conversation]


@dataclass(frozen=True, slots=True)
class ConversationEdit:
    """An edit of title and timer, made at `version` of the conversation."""

    version: int
    changes_info: bool
    sealed_info: bytes | None
    changes_timer: bool
    message_timer_seconds: int | None


@dataclass(frozen=True, slots=True)
class MemberCandidate:
    """An account to be added to a group, seen from the adder.

    `accepts_contact`: a friend, or an account with `messagesFrom` everyone. `is_known`: a friend, or a member of a shared conversation.
    `can_add_directly`: a friend, or an account that has written in the direct conversation of the two. All others are invited instead.
    """

    accepts_contact: bool
    is_known: bool
    can_add_directly: bool


@dataclass(frozen=True, slots=True)
class MemberPage:
    """A page of members, ordered by id; `next_cursor` is None on the last page."""

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
        """Create a group with its admin, its members and its invitations. Raises NotFound if an account is missing, Forbidden if one is in `MAX_GROUPS` groups."""
        ...

    async def invite(
        self, admin: UserId, conversation_id: ConversationId, users: Collection[UserId], now: datetime
    ) -> None:
        """Invite these accounts, except members. An account without an open invitation is notified. Raises NotFound, Forbidden (not an admin)."""
        ...

    async def change(self, conversation_id: ConversationId, change: ConversationChange, now: datetime) -> Conversation:
        """Apply a change under the row lock, and return the new conversation. A conversation without members is deleted.

        Notices to the members, removed ones included, are queued in the same transaction. After this returns, no node accepts a post that was checked
        against an earlier version. Raises NotFound if the conversation or a new member is missing, Forbidden if a new member is in `MAX_GROUPS`
        groups, and what `change` raises.
        """
        ...

    async def load_candidates(self, adder: UserId, users: Collection[UserId]) -> dict[UserId, MemberCandidate]:
        """These accounts as candidates of the adder; unknown accounts, and those with a block between them, are absent."""
        ...


class Groups:
    """Creates and changes groups."""

    def __init__(self, store: GroupStore, listener: ConversationListener, limiter: Limiter, clock: Clock) -> None:
        self._store = store
        self._listener = listener
        self._limiter = limiter
        self._clock = clock

    async def create(self, creator: UserId, others: Sequence[UserId], sealed_info: bytes | None) -> OpenedConversation:
        """Create a group with the creator as its admin. Raises InvalidRequest, NotFound, Forbidden, RateLimited."""
        if creator in others:
            raise InvalidRequest(fields=[{"field": "memberIds", "problem": "must not include your own account"}])
        known, invited, grants = await self._sort_candidates(creator, others, makes=1)
        group = await self._store.create(creator, known, invited, sealed_info, self._clock.now())
        return OpenedConversation(group, is_new=True, grants=grants, invited=invited)

    async def charge_change(self, changer: UserId) -> Grant:
        """Charge an edit, a change of a role or a join, before the request is read: each one notifies all members. Raises RateLimited."""
        return await self._limiter.consume(CONVERSATION_CHANGES, str(changer))

    async def edit(self, editor: UserId, conversation_id: ConversationId, edit: ConversationEdit) -> Conversation:
        """Change title and timer; in a group only admins may. Raises NotFound, Forbidden, VersionMismatch."""
        return await self._change(conversation_id, lambda conversation: apply_edit(conversation, editor, edit))

    async def add(self, adder: UserId, conversation_id: ConversationId, users: Sequence[UserId]) -> OpenedConversation:
        """Add these accounts, and invite strangers instead; members keep their role. Raises NotFound, Forbidden, InvalidRequest, RateLimited."""
        conversation = await load_as_member(self._store, adder, conversation_id)
        now = self._clock.now()
        # Checked first, so a refusal looks nothing up and charges nothing; `_change` checks again under the lock.
        add_members_as_admin(conversation, adder, users, now)
        members = [user for user in users if user in conversation.members]
        known, invited, grants = await self._sort_candidates(adder, [user for user in users if user not in members])
        known += members
        group = await self._change(
            conversation_id, lambda conversation: add_members_as_admin(conversation, adder, known, now)
        )
        if invited:
            await self._store.invite(adder, conversation_id, invited, now)
        return OpenedConversation(group, is_new=False, grants=grants, invited=invited)

    async def remove(self, remover: UserId, conversation_id: ConversationId, user: UserId) -> None:
        """Remove a member, or leave. Raises NotFound, Forbidden, LastAdmin."""
        await self._change(conversation_id, lambda conversation: remove_member(conversation, remover, user))

    async def set_role(self, admin: UserId, conversation_id: ConversationId, user: UserId, role: Role) -> Conversation:
        """Give a member another role. Raises NotFound, Forbidden, LastAdmin."""
        return await self._change(conversation_id, lambda conversation: assign_role(conversation, admin, user, role))

    async def members(
        self, viewer: UserId, conversation_id: ConversationId, limit: int, after: UserId | None
    ) -> MemberPage:
        """At most `limit` members with ids after `after`, ordered by id. Raises NotFound."""
        members = (await load_as_member(self._store, viewer, conversation_id)).members
        rest = sorted(user for user in members if after is None or user > after)
        page = {user: members[user] for user in rest[:limit]}
        return MemberPage(page, rest[limit - 1] if len(rest) > limit else None)

    async def _sort_candidates(
        self, adder: UserId, users: Collection[UserId], makes: int = 0
    ) -> tuple[list[UserId], list[UserId], list[tuple[str, Grant]]]:
        """The accounts to add, those to invite, and the remaining quotas. Unknown accounts count as new contacts. Raises NotFound, Forbidden, RateLimited."""
        contacts = await self._store.load_candidates(adder, users) if users else {}
        if contacts.keys() != set(users):
            raise NotFound
        if not all(contact.accepts_contact for contact in contacts.values()):
            raise Forbidden("One of these accounts can be added by friends only.")
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
    """Raises NotFound for an account that is no member: it must not learn that the conversation exists."""
    if user not in conversation.members:
        raise NotFound


def check_admin(conversation: Conversation, user: UserId) -> None:
    """Raises NotFound for an account that is no member, Forbidden for a member that is no admin."""
    check_member(conversation, user)
    if conversation.members[user].role is not Role.ADMIN:
        raise Forbidden("Only an admin of the group may do this.")


def apply_edit(conversation: Conversation, editor: UserId, edit: ConversationEdit) -> Conversation:
    """Change title or timer. Raises NotFound, Forbidden, VersionMismatch."""
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
    """Add members, as an admin. Raises NotFound, Forbidden, InvalidRequest."""
    check_admin(conversation, adder)
    grown = add_members(conversation, users, now)
    if len(grown.members) > MAX_MEMBERS:
        problem = f"a group has at most {MAX_MEMBERS} members, this one would have {len(grown.members)}"
        raise InvalidRequest(fields=[{"field": "userIds", "problem": problem}])
    return grown


def add_members(conversation: Conversation, users: Collection[UserId], now: datetime) -> Conversation:
    """Add members; new ones get the role MEMBER."""
    new = {user: Member(Role.MEMBER, now) for user in users if user not in conversation.members}
    return replace(conversation, members={**conversation.members, **new}) if new else conversation


def remove_member(conversation: Conversation, remover: UserId, user: UserId) -> Conversation:
    """Remove a member: the remover itself, or any other one as an admin. Raises NotFound, Forbidden, LastAdmin."""
    check_member(conversation, remover)
    if conversation.kind is ConversationKind.DIRECT:
        raise Forbidden("A direct conversation has two members.")
    if remover != user:
        check_admin(conversation, remover)
    check_member(conversation, user)
    rest = {each: member for each, member in conversation.members.items() if each != user}
    return _check_has_admin(replace(conversation, members=rest)) if rest else replace(conversation, members=rest)


def assign_role(conversation: Conversation, admin: UserId, user: UserId, role: Role) -> Conversation:
    """Give a member another role. Raises NotFound, Forbidden, LastAdmin."""
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
