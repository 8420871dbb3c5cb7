"""Strangers invite instead of adding: contract of GroupStore.invite and InvitationStore, under the rules of vyry/conversations/groups.py."""

from collections.abc import AsyncIterator

import pytest

from tests.contracts.test_group_store import GroupHarness
from tests.support.directory_harness import NOON, open_directory
from vyry.conversations.conversations import Role
from vyry.conversations.groups import add_members
from vyry.conversations.invitations import MAX_PENDING, MAX_PER_INVITER
from vyry.errors import Forbidden, NotFound
from vyry.kernel.ids import ConversationId, UserId


@pytest.fixture
async def circle(mail_url: str | None) -> AsyncIterator[GroupHarness]:
    async with open_directory(mail_url) as harness:
        yield GroupHarness(harness)


@pytest.fixture
async def ann(circle: GroupHarness) -> UserId:
    return await circle.harness.add_account()


@pytest.fixture
async def bo(circle: GroupHarness) -> UserId:
    return await circle.harness.add_account()


async def waiting(circle: GroupHarness, user: UserId) -> list[tuple[ConversationId, UserId]]:
    """The open invitations of this account: groups and inviters."""
    page = await circle.invitations.list(user, 200, None)
    return [(each.conversation_id, each.inviter.user_id) for each in page.invitations]


async def test_a_stranger_is_invited_and_comes_in_by_accepting(circle: GroupHarness, ann: UserId, bo: UserId) -> None:
    opened = await circle.groups.create(ann, [bo], b"title")
    group = opened.conversation.conversation_id
    before = await circle.roles(group), list(opened.invited), await waiting(circle, bo)

    joined = await circle.invitations.accept(bo, group)

    assert before == ({ann: Role.ADMIN}, [bo], [(group, ann)])
    assert (joined.version, await circle.roles(group)) == (2, {ann: Role.ADMIN, bo: Role.MEMBER})
    assert (await waiting(circle, bo), circle.hearing.heard) == ([], [group])
    with pytest.raises(NotFound):
        await circle.invitations.accept(bo, group)


async def test_an_unanswered_conversation_makes_no_acquaintance(circle: GroupHarness, ann: UserId, bo: UserId) -> None:
    direct, _ = await circle.harness.conversations.open_direct(ann, bo, NOON)
    shared = (await circle.harness.groups.create(ann, [bo], [], None, NOON)).conversation_id
    await circle.harness.conversations.note_writers([(direct.conversation_id, ann), (shared, bo)])
    first = await circle.groups.create(ann, [bo], None)

    await circle.harness.conversations.note_writers([(direct.conversation_id, bo)])
    second = await circle.groups.create(ann, [bo], None)

    assert (list(first.invited), list(second.invited)) == ([bo], [])


async def test_friends_add_each_other(circle: GroupHarness, ann: UserId, bo: UserId) -> None:
    await circle.harness.friends.send_request(ann, bo, NOON)
    await circle.harness.friends.accept(bo, ann, NOON)

    assert (await circle.groups.create(ann, [bo], None)).invited == []


async def test_who_declines_is_invited_no_more_and_may_be_again(circle: GroupHarness, ann: UserId, bo: UserId) -> None:
    group = await circle.group(ann, bo)

    await circle.invitations.decline(bo, group)
    declined = await waiting(circle, bo)
    await circle.groups.add(ann, group, [bo])

    assert (declined, await waiting(circle, bo)) == ([], [(group, ann)])
    await circle.invitations.decline(bo, group)
    with pytest.raises(NotFound):
        await circle.invitations.decline(bo, group)


async def test_an_invitation_ends_with_its_maker_being_admin(circle: GroupHarness, ann: UserId, bo: UserId) -> None:
    cy = await circle.harness.add_account()
    group = await circle.group(ann, bo)
    await circle.harness.groups.change(group, lambda present: add_members(present, [cy], NOON), NOON)
    await circle.groups.set_role(ann, group, cy, Role.ADMIN)

    await circle.groups.remove(ann, group, ann)

    assert await waiting(circle, bo) == []
    with pytest.raises(NotFound):
        await circle.invitations.accept(bo, group)


@pytest.mark.parametrize("is_invited", [True, False], ids=["by the invited", "by the inviter"])
async def test_a_block_ends_invitations(circle: GroupHarness, ann: UserId, bo: UserId, is_invited: bool) -> None:
    group = await circle.group(ann, bo)
    blocker, blocked = (bo, ann) if is_invited else (ann, bo)

    await circle.harness.blocks.block(blocker, blocked, NOON)

    assert await waiting(circle, bo) == []
    with pytest.raises(NotFound):
        await circle.invitations.accept(bo, group)
    with pytest.raises(NotFound):
        await circle.groups.add(ann, group, [bo])


async def test_nobody_keeps_others_out_by_inviting_without_end(circle: GroupHarness, bo: UserId) -> None:
    people = [await circle.harness.add_account() for _ in range(MAX_PENDING // MAX_PER_INVITER + 2)]
    made = []
    for person in people:
        for _ in range(MAX_PER_INVITER + 1):
            group = await circle.harness.groups.create(person, [], [bo], None, NOON)
            made.append((group.conversation_id, person))

    kept = [each for number, each in enumerate(made) if number % (MAX_PER_INVITER + 1)][-MAX_PENDING:]
    assert sorted(await waiting(circle, bo)) == sorted(kept)


async def test_invitations_are_shown_page_by_page(circle: GroupHarness, bo: UserId) -> None:
    people = [await circle.harness.add_account() for _ in range(3)]
    made = [(await circle.harness.groups.create(each, [], [bo], None, NOON)).conversation_id for each in people]

    first = await circle.invitations.list(bo, 2, None)
    second = await circle.invitations.list(bo, 2, first.next_cursor)

    pages = [each.conversation_id for page in (first, second) for each in page.invitations]
    assert (pages, second.next_cursor) == (sorted(made, reverse=True), None)


async def test_groups_of_whom_one_blocks_do_not_count(
    circle: GroupHarness, ann: UserId, bo: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("vyry.storage.groups", "tests.fakes.groups"):
        monkeypatch.setattr(f"{module}.MAX_GROUPS", 2)
    cy = await circle.harness.add_account()
    for _ in range(2):
        await circle.harness.groups.create(ann, [bo], [], None, NOON)
    with pytest.raises(Forbidden):
        await circle.harness.groups.create(cy, [bo], [], None, NOON)

    await circle.harness.blocks.block(bo, ann, NOON)

    for _ in range(2):
        await circle.harness.groups.create(cy, [bo], [], None, NOON)
    with pytest.raises(Forbidden):
        await circle.harness.groups.create(cy, [bo], [], None, NOON)
