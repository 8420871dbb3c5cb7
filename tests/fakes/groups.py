"""Fakes of the stores of groups, invitations and invite links, in dictionaries. No method awaits, so each one is atomic."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from tests.fakes.conversations import MemoryConversations
from vyry.contacts.discovery import Person
from vyry.conversations.conversations import Conversation, ConversationKind, Member, Role
from vyry.conversations.groups import MAX_GROUPS, ConversationChange, MemberCandidate, check_admin
from vyry.conversations.invitations import MAX_PENDING, MAX_PER_INVITER, Invitation, InvitationPage
from vyry.conversations.invite_links import MAX_INVITE_LINKS, InviteLink, join_by_link
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId, new_id


class MemoryGroups:
    """GroupStore."""

    def __init__(self, conversations: MemoryConversations) -> None:
        self.conversations = conversations
        #: By the hash of their tokens.
        self.invites: dict[str, InviteLink] = {}

    async def load(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        return await self.conversations.load(ids)

    async def create(
        self,
        creator: UserId,
        others: Collection[UserId],
        invited: Collection[UserId],
        sealed_info: bytes | None,
        now: datetime,
    ) -> Conversation:
        key = ConversationId(new_id())
        members = {creator: Member(Role.ADMIN, now)} | {user: Member(Role.MEMBER, now) for user in sorted(others)}
        self._check_new(members.keys())
        made = Conversation(key, ConversationKind.GROUP, members, 1, sealed_info, None, now, now)
        self.conversations.kept[key] = made
        await self.invite(creator, key, invited, now)
        return made

    async def invite(
        self, admin: UserId, conversation_id: ConversationId, users: Collection[UserId], now: datetime
    ) -> None:
        group = self.get(conversation_id)
        check_admin(group, admin)
        waiting = self.conversations.ties.invitations
        for user in sorted(set(users) - group.members.keys()):
            waiting.setdefault((conversation_id, user), (admin, now))
            for each in [each for each in waiting if each[1] == user and waiting[each][0] == admin][:-MAX_PER_INVITER]:
                del waiting[each]
            for each in [each for each in waiting if each[1] == user][:-MAX_PENDING]:
                del waiting[each]

    async def change(self, conversation_id: ConversationId, change: ConversationChange, now: datetime) -> Conversation:
        before = self.get(conversation_id)
        return self.apply_change(before, change(before))

    async def load_candidates(self, adder: UserId, users: Collection[UserId]) -> dict[UserId, MemberCandidate]:
        ties = self.conversations.ties
        seen = [user for user in users if user in self.conversations.people and not ties.is_blocked(adder, user)]
        friends = {user for user in seen if (user, adder) in ties.friends}
        return {
            user: MemberCandidate(
                user in friends or user not in ties.friends_only,
                user in friends or self._share_conversation(adder, user),
                user in friends or (ties.direct_conversations.get(frozenset({adder, user})), user) in ties.writers,
            )
            for user in seen
        }

    def get(self, conversation_id: ConversationId) -> Conversation:
        """The conversation as it is. Raises NotFound."""
        if conversation_id not in self.conversations.kept:
            raise NotFound
        return self.conversations.kept[conversation_id]

    def apply_change(self, before: Conversation, wanted: Conversation) -> Conversation:
        """Make it what is wanted, under the next version."""
        if wanted == before:
            return before
        key, after = before.conversation_id, replace(wanted, version=before.version + 1)
        self._check_new(after.members.keys() - before.members.keys())
        self.conversations.kept[key] = after
        gone = before.members.keys() - after.members.keys()
        self.conversations.ties.writers -= {(key, user) for user in gone}
        waiting = self.conversations.ties.invitations
        for each in [
            each for each in waiting if each[0] == key and self._is_invitation_over(after, each[1], waiting[each][0])
        ]:
            del waiting[each]
        if not after.members:
            del self.conversations.kept[key]
        admins = {user for user, member in after.members.items() if member.role is Role.ADMIN}
        self.invites = {
            token: invite
            for token, invite in self.invites.items()
            if invite.conversation_id != key or invite.user_id in admins
        }
        return after

    def _check_new(self, users: Collection[UserId]) -> None:
        for user in users:
            if user not in self.conversations.people:
                raise NotFound
            mine = [each for each in self.conversations.kept.values() if user in each.members]
            groups = [each for each in mine if each.kind is ConversationKind.GROUP]
            counted = [each for each in groups if not self._is_led_by_blocked(each, user)]
            if len(counted) >= MAX_GROUPS or len(groups) >= 2 * MAX_GROUPS:
                raise Forbidden("One of the users has reached the limit of groups.")

    def _is_led_by_blocked(self, group: Conversation, user: UserId) -> bool:
        blocks = self.conversations.ties.blocks
        return any((user, lead) in blocks for lead, member in group.members.items() if member.role is Role.ADMIN)

    def _is_invitation_over(self, group: Conversation, user: UserId, inviter: UserId) -> bool:
        """Whether an invitation is over: its reader has come in, or its maker leads the group no more."""
        leads = group.members.get(inviter)
        return user in group.members or leads is None or leads.role is not Role.ADMIN

    def _share_conversation(self, one: UserId, other: UserId) -> bool:
        return any({one, other} <= each.members.keys() for each in self.conversations.kept.values())


class MemoryInviteLinks:
    """InviteStore."""

    def __init__(self, groups: MemoryGroups) -> None:
        self._groups = groups

    async def create(self, invite: InviteLink, token_hash: str) -> None:
        check_admin(self._groups.get(invite.conversation_id), invite.user_id)
        if len(self._valid_invites(invite.conversation_id, invite.created_at)) >= MAX_INVITE_LINKS:
            raise Forbidden("The group has reached its limit of invite links; revoke one.")
        self._groups.invites[token_hash] = invite

    async def list_active(self, admin: UserId, conversation_id: ConversationId, now: datetime) -> list[InviteLink]:
        check_admin(self._groups.get(conversation_id), admin)
        return sorted(self._valid_invites(conversation_id, now), key=lambda invite: invite.invite_id, reverse=True)

    async def revoke(self, admin: UserId, conversation_id: ConversationId, invite_id: UUID) -> None:
        check_admin(self._groups.get(conversation_id), admin)
        invites = self._groups.invites
        found = [token for token, invite in invites.items() if invite.invite_id == invite_id]
        if not found or invites[found[0]].conversation_id != conversation_id:
            raise NotFound
        del invites[found[0]]

    async def join(self, user: UserId, token_hash: str, now: datetime) -> Conversation:
        invite = self._groups.invites.get(token_hash)
        if invite is None or invite.expires_at <= now:
            raise NotFound
        before = self._groups.get(invite.conversation_id)
        if user in before.members:
            return before
        if invite.uses >= invite.max_uses:
            raise NotFound
        after = self._groups.apply_change(before, join_by_link(before, user, now))
        self._groups.invites[token_hash] = replace(invite, uses=invite.uses + 1)
        return after

    def _valid_invites(self, conversation_id: ConversationId, now: datetime) -> list[InviteLink]:
        mine = (each for each in self._groups.invites.values() if each.conversation_id == conversation_id)
        return [invite for invite in mine if invite.expires_at > now]


class MemoryInvitations:
    """InvitationStore."""

    def __init__(self, groups: MemoryGroups) -> None:
        self._groups = groups
        self._ties = groups.conversations.ties

    async def list_pending(self, user: UserId, limit: int, after: ConversationId | None) -> InvitationPage:
        found = sorted(((key, *told) for (key, to), told in self._ties.invitations.items() if to == user), reverse=True)
        seen = [each for each in found if not self._ties.is_blocked(user, each[1])]
        rest = [each for each in seen if after is None or each[0] < after]
        page = [Invitation(key, Person(inviter, None, None, None), at) for key, inviter, at in rest[:limit]]
        return InvitationPage(page, page[-1].conversation_id if len(rest) > limit else None)

    async def accept(self, user: UserId, conversation_id: ConversationId, now: datetime) -> Conversation:
        if (conversation_id, user) not in self._ties.invitations:
            raise NotFound
        before = self._groups.get(conversation_id)
        return self._groups.apply_change(before, join_by_link(before, user, now))

    async def decline(self, user: UserId, conversation_id: ConversationId) -> None:
        if self._ties.invitations.pop((conversation_id, user), None) is None:
            raise NotFound
