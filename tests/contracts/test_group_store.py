"""Contract of GroupStore and InviteLinkStore, under the rules of vyry/conversations/groups.py."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import timedelta

import pytest

from tests.support.directory_harness import NOON, DirectoryHarness, open_directory
from tests.support.fake_clock import FakeClock
from vyry.conversations.conversations import CachedConversations, Conversation, ConversationSource, Role
from vyry.conversations.groups import ConversationEdit, Groups, add_members
from vyry.conversations.invitations import Invitations
from vyry.conversations.invite_links import InviteLinks, InviteLinkTerms
from vyry.errors import Forbidden, InvalidRequest, LastAdmin, NotFound, RateLimited, VersionMismatch, VyryError
from vyry.in_process.limiter import InProcessLimiter
from vyry.kernel.ids import ConversationId, UserId, new_id


WEEK = InviteLinkTerms(timedelta(days=7), 10)


class RecordingListener:
    """Records which conversations have changed."""

    def __init__(self) -> None:
        self.heard: list[ConversationId] = []

    async def conversations_changed(self, ids: Collection[ConversationId]) -> None:
        self.heard += ids


class RecordingSource:
    """A store that records which conversations are loaded from it."""

    def __init__(self, store: ConversationSource) -> None:
        self._store = store
        self.loaded: list[set[ConversationId]] = []

    async def load(self, ids: Collection[ConversationId]) -> dict[ConversationId, Conversation]:
        self.loaded.append(set(ids))
        return await self._store.load(ids)


class GroupHarness:
    """Groups, invite links and invitations over one store, as on a node."""

    def __init__(self, mail_harness: DirectoryHarness) -> None:
        self.harness = mail_harness
        self.hearing = RecordingListener()
        self.clock = FakeClock()
        self.groups = Groups(mail_harness.groups, self.hearing, InProcessLimiter(), self.clock)
        self.invites = InviteLinks(mail_harness.invites, self.hearing, self.clock)
        self.invitations = Invitations(mail_harness.invitations, self.hearing, self.clock)

    async def friends(self, count: int) -> list[UserId]:
        """New accounts; each of the others has written to the first one."""
        people = [await self.harness.add_account() for _ in range(count)]
        for other in people[1:]:
            direct, _ = await self.harness.conversations.open_direct(people[0], other, NOON)
            await self.harness.conversations.note_writers([(direct.conversation_id, other)])
        return people

    async def group(self, *people: UserId) -> ConversationId:
        """A group of these accounts; the first is its admin."""
        return (await self.groups.create(people[0], people[1:], b"title")).conversation.conversation_id

    async def seen(self, group: ConversationId) -> Conversation:
        return (await self.harness.groups.load([group]))[group]

    async def roles(self, group: ConversationId) -> dict[UserId, Role]:
        return {user: member.role for user, member in (await self.seen(group)).members.items()}

    async def grow(self, group: ConversationId, count: int) -> None:
        """Add so many new accounts, without the quotas of the service."""
        users = [await self.harness.add_account() for _ in range(count)]
        await self.harness.groups.change(group, lambda present: add_members(present, users, NOON), NOON)


@pytest.fixture
async def circle(mail_url: str | None) -> AsyncIterator[GroupHarness]:
    async with open_directory(mail_url) as harness:
        yield GroupHarness(harness)


async def test_who_makes_a_group_is_its_admin(circle: GroupHarness) -> None:
    ann, bo, cy = await circle.friends(3)

    group = await circle.group(ann, bo, cy)

    seen = await circle.seen(group)
    assert (seen.version, seen.sealed_info, seen.created_at) == (1, b"title", seen.last_activity_at)
    assert await circle.roles(group) == {ann: Role.ADMIN, bo: Role.MEMBER, cy: Role.MEMBER}


async def test_people_out_of_reach_are_not_added_and_nobody_beside_them(circle: GroupHarness) -> None:
    ann, bo, blocker, blocked, reserved = await circle.friends(5)
    group = await circle.group(ann)
    await circle.harness.blocks.block(blocker, ann, NOON)
    await circle.harness.blocks.block(ann, blocked, NOON)
    await circle.harness.accept_friends_only(reserved)

    refusals = {UserId(new_id()): NotFound, blocker: NotFound, blocked: NotFound, reserved: Forbidden}
    for person, refusal in refusals.items():
        with pytest.raises(refusal):
            await circle.groups.add(ann, group, [bo, person])
        with pytest.raises(refusal):
            await circle.groups.create(ann, [bo, person], None)

    assert await circle.roles(group) == {ann: Role.ADMIN}
    assert (await circle.seen(group)).version == 1


async def test_only_people_never_met_are_new_contacts(circle: GroupHarness) -> None:
    ann, *friends = await circle.friends(22)
    strangers = [await circle.harness.add_account() for _ in range(21)]

    group = await circle.group(ann, *friends)
    opened = await circle.groups.add(ann, group, strangers[:20])

    with pytest.raises(RateLimited):
        await circle.groups.add(ann, group, strangers)
    assert (list(opened.invited), len(await circle.roles(group))) == (strangers[:20], 22)


async def test_who_is_a_member_already_changes_nothing(circle: GroupHarness) -> None:
    ann, bo, cy = await circle.friends(3)
    group = await circle.group(ann, bo)
    await circle.groups.set_role(ann, group, bo, Role.ADMIN)

    same = await circle.groups.add(ann, group, [bo])
    grown = await circle.groups.add(ann, group, [bo, cy])

    assert (same.conversation.version, grown.conversation.version) == (2, 3)
    assert await circle.roles(group) == {ann: Role.ADMIN, bo: Role.ADMIN, cy: Role.MEMBER}
    assert circle.hearing.heard == [group] * 3


async def test_a_thousand_belong_to_a_group_and_no_more(circle: GroupHarness) -> None:
    ann, bo = await circle.friends(2)
    group = await circle.group(ann)
    await circle.grow(group, 999)

    with pytest.raises(InvalidRequest) as refusal:
        await circle.groups.add(ann, group, [bo])
    _, token = await circle.invites.create(ann, group, WEEK)
    with pytest.raises(Forbidden):
        await circle.invites.join(bo, token)

    assert str(refusal.value.members["fields"]).startswith("[{'field': 'userIds'")
    assert len(await circle.roles(group)) == 1000
    (invite,) = (await circle.invites.list(ann, group, 50, None)).invites
    assert invite.uses == 0


async def test_what_an_editor_did_not_see_is_not_overwritten(circle: GroupHarness) -> None:
    ann, bo = await circle.friends(2)
    group = await circle.group(ann, bo)
    timer, title = ConversationEdit(1, False, None, True, 60), ConversationEdit(1, True, b"other", False, None)

    edits = [circle.groups.edit(ann, group, each) for each in (timer, title) * 3]
    outcomes = await asyncio.gather(*edits, return_exceptions=True)

    refusals = [each for each in outcomes if isinstance(each, VersionMismatch)]
    assert (len(refusals), {each.members["version"] for each in refusals}) == (5, {2})
    seen = await circle.groups.edit(ann, group, ConversationEdit(2, True, None, True, 9))
    assert (seen.version, seen.sealed_info, seen.message_timer_seconds) == (3, None, 9)
    with pytest.raises(Forbidden):
        await circle.groups.edit(bo, group, ConversationEdit(3, True, b"mine", False, None))


async def test_either_of_two_sets_the_timer_of_a_direct_conversation(circle: GroupHarness) -> None:
    ann, bo = await circle.friends(2)
    direct, _ = await circle.harness.conversations.open_direct(ann, bo, NOON)

    seen = await circle.groups.edit(bo, direct.conversation_id, ConversationEdit(1, False, None, True, 3600))

    assert (seen.version, seen.message_timer_seconds) == (2, 3600)
    for attempt in (
        circle.groups.add(ann, seen.conversation_id, [bo]),
        circle.groups.remove(ann, seen.conversation_id, ann),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_a_group_never_loses_its_last_admin(circle: GroupHarness) -> None:
    ann, bo, cy = await circle.friends(3)
    group = await circle.group(ann, bo, cy)

    for attempt in (circle.groups.remove(ann, group, ann), circle.groups.set_role(ann, group, ann, Role.MEMBER)):
        with pytest.raises(LastAdmin):
            await attempt
    await circle.groups.set_role(ann, group, bo, Role.ADMIN)
    both = (circle.groups.remove(ann, group, ann), circle.groups.remove(bo, group, bo))
    outcomes = await asyncio.gather(*both, return_exceptions=True)

    assert sorted(type(each).__name__ for each in outcomes) == ["LastAdmin", "NoneType"]
    assert sorted(role.value for role in (await circle.roles(group)).values()) == ["admin", "member"]


async def test_with_the_last_member_the_group_and_its_invites_are_gone(circle: GroupHarness) -> None:
    ann, bo = await circle.friends(2)
    group = await circle.group(ann)
    _, token = await circle.invites.create(ann, group, WEEK)

    await circle.groups.remove(ann, group, ann)

    assert await circle.harness.groups.load([group]) == {}
    with pytest.raises(NotFound):
        await circle.invites.join(bo, token)


async def test_members_are_shown_page_by_page_though_some_leave_between(circle: GroupHarness) -> None:
    people = await circle.friends(6)
    group = await circle.group(*people)
    await circle.groups.set_role(people[0], group, people[1], Role.ADMIN)

    first = await circle.groups.members(people[0], group, 3, None)
    assert first.next_cursor is not None
    # Ids made within a millisecond stand in any order: the one who leaves may be either admin.
    admin = next(each for each in people[:2] if each != first.next_cursor)
    await circle.groups.remove(admin, group, first.next_cursor)
    second = await circle.groups.members(admin, group, 3, first.next_cursor)

    assert sorted([*first.members, *second.members]) == sorted(people)
    assert second.next_cursor is None


async def refused(circle: GroupHarness, person: UserId, group: ConversationId, other: UserId) -> list[type[VyryError]]:
    """The errors of all operations for admins, for this account."""
    attempts = (
        circle.groups.edit(person, group, ConversationEdit(1, True, b"mine", False, None)),
        circle.groups.add(person, group, [other]),
        circle.groups.remove(person, group, other),
        circle.groups.set_role(person, group, other, Role.ADMIN),
        circle.invites.create(person, group, WEEK),
        circle.invites.list(person, group, 50, None),
        circle.invites.revoke(person, group, new_id()),
    )
    said = [await asyncio.gather(attempt, return_exceptions=True) for attempt in attempts]
    return [type(each) for (each,) in said if isinstance(each, VyryError)]


async def test_members_may_not_what_admins_may_and_outsiders_see_no_group(circle: GroupHarness) -> None:
    ann, bo, eve = await circle.friends(3)
    group = await circle.group(ann, bo)

    assert await refused(circle, bo, group, ann) == [Forbidden] * 7
    assert await refused(circle, eve, group, ann) == [NotFound] * 7
    assert await refused(circle, eve, ConversationId(new_id()), ann) == [NotFound] * 7
    assert (await circle.seen(group)).version == 1


async def test_of_fifty_who_come_at_once_ten_get_in_by_ten_uses(circle: GroupHarness) -> None:
    ann, *others = [await circle.harness.add_account() for _ in range(51)]
    group = await circle.group(ann)
    _, token = await circle.invites.create(ann, group, WEEK)

    outcomes = await asyncio.gather(*(circle.invites.join(each, token) for each in others), return_exceptions=True)

    joined = [user for user, each in zip(others, outcomes, strict=True) if isinstance(each, Conversation)]
    assert {type(each) for each in outcomes} == {Conversation, NotFound}
    assert sorted(await circle.roles(group)) == sorted([ann, *joined])
    assert (len(joined), (await circle.seen(group)).version) == (10, 11)
    again = await circle.invites.join(joined[0], token)
    assert (len(again.members), again.version) == (11, 11)


async def test_an_invite_that_does_not_hold_is_like_none(circle: GroupHarness) -> None:
    ann, bo, cy = await circle.friends(3)
    group = await circle.group(ann, bo)
    short, withdrawn, once = [
        await circle.invites.create(ann, group, InviteLinkTerms(timedelta(seconds=n), 1)) for n in (1, 9, 9)
    ]
    await circle.invites.revoke(ann, group, withdrawn[0].invite_id)
    await circle.invites.join(await circle.harness.add_account(), once[1])
    circle.clock.advance(seconds=1)

    for token in (short[1], withdrawn[1], once[1], "invented"):
        with pytest.raises(NotFound):
            await circle.invites.join(cy, token)

    held = (await circle.invites.list(ann, group, 50, None)).invites
    assert [(each.invite_id, each.uses) for each in held] == [(once[0].invite_id, 1)]


async def test_an_invite_ends_with_its_maker_being_admin(circle: GroupHarness) -> None:
    ann, bo, cy = await circle.friends(3)
    group = await circle.group(ann, bo)
    await circle.groups.set_role(ann, group, bo, Role.ADMIN)
    _, token = await circle.invites.create(bo, group, WEEK)

    await circle.groups.remove(ann, group, bo)

    for person in (bo, cy):
        with pytest.raises(NotFound):
            await circle.invites.join(person, token)


async def test_a_page_of_large_groups_is_shorter_than_asked_for(circle: GroupHarness) -> None:
    (ann,) = await circle.friends(1)
    groups = [await circle.group(ann) for _ in range(7)]
    members = [await circle.harness.add_account() for _ in range(900)]
    for group in groups:
        await circle.harness.groups.change(group, lambda present: add_members(present, members, NOON), NOON)

    first = await circle.harness.conversations.list(ann, 50, None)
    second = await circle.harness.conversations.list(ann, 50, first.next_cursor)

    assert [len(page.conversations) for page in (first, second)] == [5, 2]
    assert [each.conversation_id for page in (first, second) for each in page.conversations] == sorted(
        groups, reverse=True
    )
    assert second.next_cursor is None


async def test_what_is_remembered_is_bounded_by_members(circle: GroupHarness) -> None:
    ann, bo = await circle.friends(2)
    large, small = await circle.group(ann), await circle.group(ann, bo)
    await circle.grow(large, 30)
    source = RecordingSource(circle.harness.conversations)
    cached = CachedConversations(source, capacity=20)

    found = await cached.get([large])
    await cached.get([small])
    await cached.get([large, small])

    assert found.keys() == {large}
    assert source.loaded == [{large}, {small}, {large}]
