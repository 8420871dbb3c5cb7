"""Notices to the members of a group, and from when on a change applies to posts on every node."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from tests.contracts.test_notices import Person, notices, notices_in, sign_up
from tests.support.fake_clock import NOON
from tests.support.mail_store_harness import MailStoreHarness
from tests.support.posting_harness import RecordingRouter, make_draft
from vyry.accounts.deletion import ERASE_DELAY
from vyry.conversations.conversations import CachedConversations, Role
from vyry.conversations.groups import add_members, assign_role, remove_member
from vyry.devices.device_lists import CachedDeviceLists
from vyry.errors import NotAMember, NotFound, StaleDevices, VyryError
from vyry.kernel.ids import ConversationId, DeviceId
from vyry.kernel.sizes import MAX_COPIES
from vyry.mail.draft import Draft, Sender
from vyry.mail.posting import Accepted, Posting
from vyry.mail.routing import NodeSockets, Router
from vyry.storage.account_deletion import TortoiseDeletion
from vyry.storage.conversation_models import NoticeRow
from vyry.storage.conversations import TortoiseConversations
from vyry.storage.groups import TortoiseGroups
from vyry.storage.models import DeviceRow
from vyry.storage.notice_outbox import TortoiseNoticeOutbox
from vyry.storage.prekeys import TortoiseDeviceLists
from vyry.storage.privacy import TortoiseReceipts


@pytest.fixture(params=["sqlite", "postgres"])
def mail_url(request: pytest.FixtureRequest) -> str:
    """Notices are queued in the transaction of their change; a memory store has no transactions."""
    return str(request.getfixturevalue(f"{request.param}_url"))


async def group_of(*names: str) -> tuple[ConversationId, list[Person]]:
    """A group of new accounts with keys; the first is its admin, the others joined a second apart."""
    people = [await sign_up(name, name) for name in names]
    await DeviceRow.all().update(registration_id=10)
    made = await TortoiseGroups().create(people[0].user_id, [], [], None, NOON)
    for second, person in enumerate(people[1:], 1):
        await join(made.conversation_id, person, second)
    return made.conversation_id, people


async def join(group: ConversationId, person: Person, second: int = 9) -> None:
    at = NOON + timedelta(seconds=second)
    await TortoiseGroups().change(group, lambda present: add_members(present, [person.user_id], at), at)


async def remove(group: ConversationId, admin: Person, person: Person) -> None:
    await TortoiseGroups().change(group, lambda present: remove_member(present, admin.user_id, person.user_id), NOON)


def notice(group: ConversationId, version: int) -> dict[str, object]:
    return {"name": "conversationChanged", "conversationId": str(group), "version": version}


async def test_many_changes_are_told_once_and_by_the_last(mail_harness: MailStoreHarness) -> None:
    group, (ann, bo, cy) = await group_of("a", "b", "c")

    await remove(group, ann, cy)
    await notices(mail_harness).post_pending()

    assert (
        await notices_in(mail_harness, ann.mailbox) == await notices_in(mail_harness, bo.mailbox) == [notice(group, 4)]
    )
    assert await notices_in(mail_harness, cy.mailbox) == [notice(group, 4)]


async def test_who_invites_many_waits_for_the_turn_of_others(mail_harness: MailStoreHarness) -> None:
    group, (ann,) = await group_of("a")
    strangers = [await sign_up(name, name) for name in ("b", "c", "d")]

    await TortoiseGroups().invite(ann.user_id, group, [each.user_id for each in strangers], NOON)

    rows = await NoticeRow.filter(account_id__in=[each.user_id for each in strangers])
    assert [row.caused_by for row in rows] == [ann.user_id] * 3
    await notices(mail_harness).post_pending()
    assert [await notices_in(mail_harness, each.mailbox) for each in strangers] == [[{"name": "groupInvited"}]] * 3


async def test_who_is_removed_again_and_again_is_told_once(mail_harness: MailStoreHarness) -> None:
    group, (ann, _, cy) = await group_of("a", "b", "c")

    for _ in range(3):
        await remove(group, ann, cy)
        await join(group, cy)
    await remove(group, ann, cy)
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, cy.mailbox) == [notice(group, 10)]


async def test_a_change_while_the_one_before_is_being_told_is_told_too(mail_harness: MailStoreHarness) -> None:
    group, (ann, bo) = await group_of("a", "b")
    outbox = TortoiseNoticeOutbox()
    (before,) = await outbox.load_pending(10, MAX_COPIES)

    await TortoiseGroups().change(
        group, lambda present: assign_role(present, ann.user_id, bo.user_id, Role.ADMIN), NOON
    )
    await outbox.complete([before.notice_id])
    await notices(mail_harness).post_pending()

    assert await notices_in(mail_harness, bo.mailbox) == [notice(group, 3)]


async def test_nothing_waits_for_a_group_that_is_gone(mail_harness: MailStoreHarness) -> None:
    group, (ann,) = await group_of("a")

    await remove(group, ann, ann)

    assert await NoticeRow.filter(conversation_id=group).count() == 0
    await notices(mail_harness).post_pending()
    assert await notices_in(mail_harness, ann.mailbox) == [notice(group, 2)]


async def test_whoever_is_longest_in_a_group_leads_it_when_its_admin_deletes_the_account(
    mail_harness: MailStoreHarness,
) -> None:
    group, (ann, bo, cy) = await group_of("a", "b", "c")
    await TortoiseDeletion().delete(ann.user_id, [], NOON)
    await notices(mail_harness).post_pending()

    while await TortoiseDeletion().erase(NOON + ERASE_DELAY, 100):
        await notices(mail_harness).post_pending()

    seen = (await TortoiseConversations().load([group]))[group]
    assert {user: member.role for user, member in seen.members.items()} == {
        bo.user_id: Role.ADMIN,
        cy.user_id: Role.MEMBER,
    }
    assert (await notices_in(mail_harness, cy.mailbox))[-1] == notice(group, seen.version) == notice(group, 4)


class CachedPosting:
    """The posting service of one node, with its caches."""

    def __init__(self, mail_harness: MailStoreHarness) -> None:
        store = TortoiseConversations()
        self.office = Posting(
            mail_harness.store,
            device_lists=CachedDeviceLists(TortoiseDeviceLists()),
            conversations=CachedConversations(store),
            conversation_store=store,
            receipts=TortoiseReceipts(),
            router=Router(RecordingRouter(), depositor=RecordingRouter(), sockets=NodeSockets()),
            clock=mail_harness.clock,
        )

    async def post(self, sender: Person, body: Draft) -> Accepted | VyryError:
        """The outcome of the post."""
        work = asyncio.create_task(self.office.run())
        try:
            return await self.office.post_and_wait(Sender(sender.user_id, DeviceId(1), sender.mailbox), body)
        except VyryError as refusal:
            return refusal
        finally:
            work.cancel()


async def test_who_was_removed_gets_no_later_post_of_any_node(mail_harness: MailStoreHarness) -> None:
    group, (ann, bo, cy) = await group_of("a", "b", "c")
    nodes = [CachedPosting(mail_harness), CachedPosting(mail_harness)]
    everybody = [(bo.user_id, [1]), (cy.user_id, [1])]
    before = [await node.post(ann, make_draft(group, *everybody, conversationVersion=3)) for node in nodes]

    await remove(group, ann, cy)
    with_version = [await node.post(ann, make_draft(group, *everybody, conversationVersion=3)) for node in nodes]
    without_version = [await node.post(ann, make_draft(group, *everybody)) for node in nodes]
    theirs = [await node.post(cy, make_draft(group, (bo.user_id, [1]))) for node in nodes]

    assert [type(each) for each in before] == [Accepted] * 2
    for refusal in with_version:
        assert isinstance(refusal, StaleDevices)
        assert refusal.members["extra"] == [{"userId": str(cy.user_id), "deviceId": 1}]
        assert (refusal.members["missing"], refusal.members["conversationVersion"]) == ([], 4)
    assert [type(each) for each in without_version] == [NotFound] * 2
    assert [type(each) for each in theirs] == [NotAMember] * 2


async def test_a_post_for_an_older_version_forgets_nobody_who_joined(mail_harness: MailStoreHarness) -> None:
    group, (ann, bo) = await group_of("a", "b")
    cy = await sign_up("c", "c")
    await DeviceRow.all().update(registration_id=10)
    nodes = [CachedPosting(mail_harness), CachedPosting(mail_harness)]
    for node in nodes:
        await node.post(ann, make_draft(group, (bo.user_id, [1]), conversationVersion=2))

    await join(group, cy)
    refusals = [await node.post(ann, make_draft(group, (bo.user_id, [1]), conversationVersion=2)) for node in nodes]
    to_some = await nodes[0].post(ann, make_draft(group, (bo.user_id, [1]), conversationVersion=3))

    for refusal in refusals:
        assert isinstance(refusal, StaleDevices)
        missing = {"userId": str(cy.user_id), "deviceId": 1, "registrationId": 10}
        assert (refusal.members["missing"], refusal.members["extra"]) == ([missing], [])
    assert isinstance(to_some, Accepted)


@pytest.mark.parametrize("mail_url", ["postgres"], indirect=True)
async def test_a_change_is_answered_after_the_posts_that_did_not_see_it(mail_harness: MailStoreHarness) -> None:
    group, (ann, bo) = await group_of("a", "b")
    post = await asyncpg.connect(mail_harness.url, server_settings={"application_name": "vyry-post"})
    under_way = post.transaction()
    await under_way.start()
    seen = await post.fetchval("SELECT version FROM conversation WHERE id = $1", group)

    change = asyncio.create_task(remove(group, ann, bo))
    # Nobody rings when another connection has committed.
    while await post.fetchval("SELECT version FROM conversation WHERE id = $1", group) == seen:  # noqa: ASYNC110 - as said
        await asyncio.sleep(0)
    done, _ = await asyncio.wait([change], timeout=0.1)

    assert not done
    await under_way.commit()
    await change
    await post.close()
