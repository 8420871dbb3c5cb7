"""A group that is created, renamed or extended is the requested one, whatever conversation the node answers with."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.support.client_inbox import CONVERSATION, NOW, InboxHarness, open_inbox
from tests.support.fake_node import FakeNode, open_fake_node
from vyry.client.api.groups import Groups
from vyry.client.crypto.conversation_members import ExpectedMembers, MemberDirectory
from vyry.client.crypto.group_keys import GroupKeys, new_own_key
from vyry.client.errors import Refused, Unreachable
from vyry.client.store.events import ConversationForged, MemberAdded
from vyry.client.store.pending_groups import GroupTasks
from vyry.client.sync.group_info import GroupInfo
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol import refusals
from vyry.signal_protocol.blobs import BlobKind, seal_blob


BO, CY, EVE = uuid4(), uuid4(), uuid4()
ELSEWHERE = UUID(int=8)


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: InboxHarness) -> AsyncIterator[tuple[FakeNode, Groups, MemberDirectory]]:
    async with open_fake_node(ann.store) as (fake_node, rest):
        info = GroupInfo(ann.store, rest, lambda: NOW)
        yield fake_node, Groups(ann.store, rest, info, lambda: None), info.directory


async def test_a_title_is_not_sealed_for_another_group_that_the_node_answers_with(
    ann: InboxHarness, node: tuple[FakeNode, Groups, MemberDirectory]
) -> None:
    fake_node, groups, _ = node
    key, me = bytes(range(32)), ann.local_device.user_id
    ann.pin_conversation(BO, where=CONVERSATION)
    ann.pin_conversation(EVE, where=ELSEWHERE)
    GroupKeys(ann.store).save_own(ELSEWHERE, new_own_key(1, key))
    fake_node.set_conversation(ELSEWHERE, me, EVE, kind="group")
    eves = fake_node.answers[f"GET /conversations/{ELSEWHERE}"]
    eves |= {"sealedInfo": encode_base64(seal_blob(key, BlobKind.GROUP_INFO, {"title": "eve's"}))}
    fake_node.answers |= {f"GET /conversations/{CONVERSATION}": eves, f"PATCH /conversations/{CONVERSATION}": eves}

    with pytest.raises(Unreachable):
        await groups.rename(CONVERSATION, "for bo alone")

    assert not any(each.startswith("PATCH") for each in fake_node.requests)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_new_group_is_no_other_one_and_has_nobody_else(
    ann: InboxHarness, node: tuple[FakeNode, Groups, MemberDirectory], is_known: bool
) -> None:
    fake_node, groups, directory = node
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, BO, EVE, kind="group")
    fake_node.answers["POST /conversations"] = fake_node.answers[f"GET /conversations/{CONVERSATION}"]
    if is_known:
        await directory.refresh(CONVERSATION)

    with pytest.raises(refusals.ConversationForged):
        await groups.create([BO], "for bo alone")

    assert ann.pop_events() == [ConversationForged(conversation_id=CONVERSATION, reason="member", user_ids=(EVE,))]


async def test_a_group_whose_making_was_broken_off_tells_of_whoever_came_meanwhile(
    ann: InboxHarness, node: tuple[FakeNode, Groups, MemberDirectory]
) -> None:
    fake_node, _, directory = node
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, BO, CY, kind="group")
    said = fake_node.answers[f"GET /conversations/{CONVERSATION}"]
    await directory.refresh(CONVERSATION)

    directory.record(said, expected=ExpectedMembers([BO], is_new=True))

    assert ann.pop_events() == [MemberAdded(conversation_id=CONVERSATION, user_id=CY, is_verified=False)]


async def test_adding_to_a_group_seen_for_the_first_time_alarms_about_nobody(
    ann: InboxHarness, node: tuple[FakeNode, Groups, MemberDirectory]
) -> None:
    fake_node, groups, _ = node
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, BO, CY, kind="group")
    said = fake_node.answers[f"GET /conversations/{CONVERSATION}"] | {"sealedInfo": None}
    fake_node.answers[f"POST /conversations/{CONVERSATION}/members"] = said

    await groups.add(CONVERSATION, [CY])

    assert ann.pop_events() == []


@pytest.mark.parametrize("deed", ["add", "remove"])
async def test_what_is_due_is_looked_after_also_when_the_node_refuses(ann: InboxHarness, deed: str) -> None:
    woken: list[bool] = []
    async with open_fake_node(ann.store) as (_, rest):
        info = GroupInfo(ann.store, rest, lambda: NOW)
        groups = Groups(ann.store, rest, info, lambda: woken.append(GroupTasks(ann.store).pending() != []))
        with pytest.raises(Refused):
            await (groups.add(CONVERSATION, [CY]) if deed == "add" else groups.remove(CONVERSATION, CY))
        assert woken == [True]

        await info.run_tasks()

    assert not GroupTasks(ann.store).pending()
