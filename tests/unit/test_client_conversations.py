"""A direct conversation has its two people and a conversation its kind, whatever the node says; newcomers of a group are told, and nobody else gives it keys."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, mailed_store
from tests.signal_devices import Device
from tests.told_node import ToldNode, told_node
from vyry.client.circles import Circles, Expected
from vyry.client.conversation_pins import Pins
from vyry.client.events import ConversationForged, MemberAdded, MemberForged, Message, Unreadable
from vyry.client.group_keys import GroupKeys
from vyry.client.inbox import Taken
from vyry.client.peers import Peers
from vyry.signal_protocol import refusals
from vyry.signal_protocol.blobs import Blob, seal_blob
from vyry.signal_protocol.contents import text_of
from vyry.signal_protocol.sender_keys import SenderKey, Where


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    with mailed_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: MailedStore) -> AsyncIterator[tuple[ToldNode, Circles]]:
    async with told_node(ann.store) as (told, rest):
        yield told, Circles(ann.store, rest, lambda: NOW)


@pytest.fixture
def bo() -> Device:
    return Device()


GHOST, CY = uuid4(), uuid4()


async def test_a_third_person_in_a_direct_conversation_ends_all_sealing(
    ann: MailedStore, node: tuple[ToldNode, Circles], bo: Device
) -> None:
    (told, circles), me, peer = node, ann.me.user_id, bo.address.user_id
    told.conversation(HERE, me, peer)
    await circles.get(HERE)

    for members in ((me, peer, GHOST), (me, GHOST)):
        told.conversation(HERE, *members)
        for _ in range(2):
            with pytest.raises(refusals.ConversationForged):
                await circles.refresh(HERE)
            with pytest.raises(refusals.ConversationForged):
                await circles.get(HERE)

    assert ann.told() == [ConversationForged(conversation_id=HERE, reason="member", user_ids=(GHOST,))]
    told.conversation(HERE, me, peer)
    assert (await circles.get(HERE)).members == (me, peer)


async def test_a_direct_conversation_is_the_one_that_was_asked_for(
    ann: MailedStore, node: tuple[ToldNode, Circles], bo: Device
) -> None:
    told, circles = node
    Pins(ann.store).direct(HERE, bo.address.user_id)
    told.conversation(HERE, ann.me.user_id, GHOST)

    with pytest.raises(refusals.ConversationForged):
        await circles.get(HERE)
    with pytest.raises(refusals.ConversationForged):
        Pins(ann.store).direct(HERE, GHOST)


@pytest.mark.parametrize(("first", "then"), [("direct", "group"), ("group", "direct")])
async def test_a_conversation_never_becomes_one_of_another_kind(
    ann: MailedStore, node: tuple[ToldNode, Circles], bo: Device, first: str, then: str
) -> None:
    told, circles = node
    told.conversation(HERE, ann.me.user_id, bo.address.user_id, kind=first)
    await circles.get(HERE)
    told.conversation(HERE, ann.me.user_id, bo.address.user_id, kind=then)

    with pytest.raises(refusals.ConversationForged):
        await circles.refresh(HERE)

    assert ann.told() == [ConversationForged(conversation_id=HERE, reason="kind")]


async def test_a_peer_who_deleted_the_account_is_no_lie(
    ann: MailedStore, node: tuple[ToldNode, Circles], bo: Device
) -> None:
    told, circles = node
    told.conversation(HERE, ann.me.user_id, bo.address.user_id)
    await circles.get(HERE)
    told.conversation(HERE, ann.me.user_id)

    assert (await circles.refresh(HERE)).members == (ann.me.user_id,)

    assert ann.told() == []


async def test_newcomers_of_a_group_are_told_with_whether_their_key_was_compared(
    ann: MailedStore, node: tuple[ToldNode, Circles], bo: Device
) -> None:
    (told, circles), me, peer = node, ann.me.user_id, bo.address.user_id
    told.conversation(HERE, me, peer, kind="group")
    await circles.get(HERE)
    assert ann.told() == []
    Peers(ann.store).keep_identity(CY, bytes(32))
    ann.store.put("verified", str(CY), bytes(32))

    told.conversation(HERE, me, peer, CY, GHOST, kind="group")
    await circles.refresh(HERE)

    assert ann.told() == [
        MemberAdded(conversation_id=HERE, user_id=CY, is_verified=True),
        MemberAdded(conversation_id=HERE, user_id=GHOST, is_verified=False),
    ]


async def test_whoever_one_adds_oneself_is_not_told_and_whoever_comes_with_them_is(
    ann: MailedStore, node: tuple[ToldNode, Circles]
) -> None:
    _, circles = node
    ann.pin(ann.me.user_id)
    members = [{"userId": str(each)} for each in (ann.me.user_id, CY, GHOST)]
    said = {"conversationId": str(HERE), "kind": "group", "version": 1, "members": members}

    circles.keep(said, expected=Expected([CY]))

    assert [each.body["userId"] for each in ann.told()] == [str(GHOST)]


def test_in_a_direct_conversation_nobody_else_is_heard(ann: MailedStore, bo: Device) -> None:
    ann.pin(bo.address.user_id, is_group=False)
    eve = Device()

    assert [each.name for each in ann.hears(bo, content())] == ["message"]

    forged = ConversationForged(conversation_id=HERE, reason="member", user_ids=(eve.address.user_id,))
    assert ann.hears(eve, content()) == [forged]
    assert Peers(ann.store).identity(eve.address.user_id) is None


def test_contents_for_a_group_count_from_its_members(ann: MailedStore, bo: Device) -> None:
    ann.pin(bo.address.user_id)
    eve = Device()

    assert [each.name for each in ann.hears(bo, content())] == ["message"]

    forged = MemberForged(conversation_id=HERE, user_id=eve.address.user_id, kind="content")
    assert ann.hears(eve, content()) == [forged]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_key_of_a_title_counts_only_from_a_member(ann: MailedStore, bo: Device, *, is_known: bool) -> None:
    evil, eve = b"\2" * 32, Device()
    if is_known:
        ann.pin(bo.address.user_id)

    ann.hears(eve, content("groupKey", groupKey=text_of(evil), generation=0))

    sealed = seal_blob(evil, Blob.GROUP_INFO, {"title": "Board - pay to account 666"})
    assert GroupKeys(ann.store).opened(HERE, sealed) == (None, {})


def test_who_left_gives_no_key_of_a_title_any_more_and_late_mail_of_theirs_is_read(
    ann: MailedStore, bo: Device
) -> None:
    ann.pin(bo.address.user_id, CY)
    pin = Pins(ann.store).get(HERE)
    assert pin
    Pins(ann.store).keep(HERE, pin.at([CY], 1))
    evil = b"\2" * 32

    assert ann.hears(bo, content("groupKey", groupKey=text_of(evil), generation=9)) == []
    assert [each.name for each in ann.hears(bo, content())] == ["message"]

    assert GroupKeys(ann.store).opened(HERE, seal_blob(evil, Blob.GROUP_INFO, {"title": "x"})) == (None, {})


async def test_who_came_and_went_between_two_looks_is_told_and_heard(
    ann: MailedStore, node: tuple[ToldNode, Circles], bo: Device
) -> None:
    (told, circles), dan = node, Device()
    told.conversation(HERE, ann.me.user_id, bo.address.user_id, kind="group")
    await circles.get(HERE)
    told.conversation(HERE, ann.me.user_id, bo.address.user_id, kind="group", version=3)
    await circles.refresh(HERE)
    evil = text_of(bytes(32))

    assert [each.name for each in ann.hears(dan, content("groupKey", groupKey=evil, generation=0))] == ["memberForged"]
    assert [each.name for each in ann.hears(dan, content())] == ["memberAdded", "message"]
    assert [each.name for each in ann.hears(dan, content())] == ["message"]


def test_a_sender_key_counts_only_from_a_member(ann: MailedStore, bo: Device) -> None:
    ann.pin(bo.address.user_id)
    eve, where = Device(), None
    for device, told in ((bo, ["message"]), (eve, ["unreadable"])):
        where = Where(HERE, device.address)
        key = SenderKey.fresh(where)
        ann.hears(device, content("senderKey", **key.distribution().fields()))
        _, sealed = key.seal(content().pack())
        ann.take(device.address, sealed)
        assert [each.name for each in ann.told()] == told


def moved(ann: MailedStore, sealed: bytes, bo: Device, where: UUID) -> Taken:
    return ann.take(bo.address, sealed, where=where)


def test_a_message_that_was_moved_is_read_where_it_belongs(ann: MailedStore, bo: Device) -> None:
    ann.hears(bo, content())
    sealed, elsewhere = ann.seal(bo, content(text="come at once").pack()), UUID(int=8)

    taken = moved(ann, sealed, bo, elsewhere)
    [refused] = ann.told()
    assert isinstance(refused, Unreadable)
    assert refused.reason == "ContextMismatch"
    # The node learns that it was set aside, not what was found inside.
    assert [reason for _, reason in taken.parked] == ["BadContent"]

    moved(ann, sealed, bo, HERE)
    assert [each.text for each in ann.told() if isinstance(each, Message)] == ["come at once"]


def test_a_first_message_that_was_moved_uses_no_prekey_up(ann: MailedStore, bo: Device) -> None:
    sealed = ann.seal(bo, content().pack())

    moved(ann, sealed, bo, UUID(int=8))
    moved(ann, sealed, bo, HERE)

    assert [each.name for each in ann.told()] == ["unreadable", "message"]
