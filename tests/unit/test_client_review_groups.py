"""A group that one makes, renames or enlarges is the one that was asked for, whatever conversation the node answers with."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, mailed_store
from tests.told_node import ToldNode, told_node
from vyry.client.chain import text
from vyry.client.circles import Circles, Expected
from vyry.client.events import ConversationForged, MemberAdded
from vyry.client.group_due import Dues
from vyry.client.group_info import GroupInfo
from vyry.client.group_keys import GroupKeys, own_key
from vyry.client.groups import Groups
from vyry.client.refusals import Refused, Unreachable
from vyry.signal_protocol import refusals
from vyry.signal_protocol.blobs import Blob, seal_blob


BO, CY, EVE = uuid4(), uuid4(), uuid4()
ELSEWHERE = UUID(int=8)


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: MailedStore) -> AsyncIterator[tuple[ToldNode, Groups, Circles]]:
    async with told_node(ann.store) as (told, rest):
        info = GroupInfo(ann.store, rest, lambda: NOW)
        yield told, Groups(ann.store, rest, info, lambda: None), info.circles


async def test_a_title_is_not_sealed_for_another_group_that_the_node_answers_with(
    ann: MailedStore, node: tuple[ToldNode, Groups, Circles]
) -> None:
    told, groups, _ = node
    key, me = bytes(range(32)), ann.me.user_id
    ann.pin(BO, where=HERE)
    ann.pin(EVE, where=ELSEWHERE)
    GroupKeys(ann.store).keep_own(ELSEWHERE, own_key(1, key))
    told.conversation(ELSEWHERE, me, EVE, kind="group")
    eves = told.answers[f"GET /conversations/{ELSEWHERE}"]
    eves |= {"sealedInfo": text(seal_blob(key, Blob.GROUP_INFO, {"title": "eve's"}))}
    told.answers |= {f"GET /conversations/{HERE}": eves, f"PATCH /conversations/{HERE}": eves}

    with pytest.raises(Unreachable):
        await groups.rename(HERE, "for bo alone")

    assert not any(each.startswith("PATCH") for each in told.asked)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_new_group_is_no_other_one_and_has_nobody_else(
    ann: MailedStore, node: tuple[ToldNode, Groups, Circles], is_known: bool
) -> None:
    told, groups, circles = node
    told.conversation(HERE, ann.me.user_id, BO, EVE, kind="group")
    told.answers["POST /conversations"] = told.answers[f"GET /conversations/{HERE}"]
    if is_known:
        await circles.refresh(HERE)

    with pytest.raises(refusals.ConversationForged):
        await groups.create([BO], "for bo alone")

    assert ann.told() == [ConversationForged(conversation_id=HERE, reason="member", user_ids=(EVE,))]


async def test_a_group_whose_making_was_broken_off_tells_of_whoever_came_meanwhile(
    ann: MailedStore, node: tuple[ToldNode, Groups, Circles]
) -> None:
    told, _, circles = node
    told.conversation(HERE, ann.me.user_id, BO, CY, kind="group")
    said = told.answers[f"GET /conversations/{HERE}"]
    await circles.refresh(HERE)

    circles.keep(said, expected=Expected([BO], is_new=True))

    assert ann.told() == [MemberAdded(conversation_id=HERE, user_id=CY, is_verified=False)]


async def test_adding_to_a_group_seen_for_the_first_time_alarms_about_nobody(
    ann: MailedStore, node: tuple[ToldNode, Groups, Circles]
) -> None:
    told, groups, _ = node
    told.conversation(HERE, ann.me.user_id, BO, CY, kind="group")
    said = told.answers[f"GET /conversations/{HERE}"] | {"sealedInfo": None}
    told.answers[f"POST /conversations/{HERE}/members"] = said

    await groups.add(HERE, [CY])

    assert ann.told() == []


@pytest.mark.parametrize("deed", ["add", "remove"])
async def test_what_is_due_is_looked_after_also_when_the_node_refuses(ann: MailedStore, deed: str) -> None:
    woken: list[bool] = []
    async with told_node(ann.store) as (_, rest):
        info = GroupInfo(ann.store, rest, lambda: NOW)
        groups = Groups(ann.store, rest, info, lambda: woken.append(Dues(ann.store).due() != []))
        with pytest.raises(Refused):
            await (groups.add(HERE, [CY]) if deed == "add" else groups.remove(HERE, CY))
        assert woken == [True]

        await info.tend()

    assert not Dues(ann.store).due()
