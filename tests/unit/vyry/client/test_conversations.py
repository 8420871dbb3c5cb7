"""A direct conversation keeps its two people and a conversation its kind, whatever the node reports; new members of a group are reported to the user, and only members give it keys."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.support.client_inbox import CONVERSATION, NOW, InboxHarness, make_content, open_inbox
from tests.support.fake_node import FakeNode, open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.crypto.conversation_members import ExpectedMembers, MemberDirectory
from vyry.client.crypto.group_keys import GroupKeys
from vyry.client.crypto.peers import Peers
from vyry.client.store.conversation_pins import ConversationPins
from vyry.client.store.events import ConversationForged, MemberAdded, MemberForged, Message, Unreadable
from vyry.client.store.mailbox_chain import ProcessedPage
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol import refusals
from vyry.signal_protocol.blobs import BlobKind, seal_blob
from vyry.signal_protocol.sender_keys import SenderKey, SenderKeyScope


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
async def node(ann: InboxHarness) -> AsyncIterator[tuple[FakeNode, MemberDirectory]]:
    async with open_fake_node(ann.store) as (fake_node, rest):
        yield fake_node, MemberDirectory(ann.store, rest, lambda: NOW)


@pytest.fixture
def bo() -> ProtocolDevice:
    return ProtocolDevice()


GHOST, CY = uuid4(), uuid4()


async def test_a_third_person_in_a_direct_conversation_ends_all_sealing(
    ann: InboxHarness, node: tuple[FakeNode, MemberDirectory], bo: ProtocolDevice
) -> None:
    (fake_node, directory), me, peer = node, ann.local_device.user_id, bo.address.user_id
    fake_node.set_conversation(CONVERSATION, me, peer)
    await directory.get(CONVERSATION)

    for members in ((me, peer, GHOST), (me, GHOST)):
        fake_node.set_conversation(CONVERSATION, *members)
        for _ in range(2):
            with pytest.raises(refusals.ConversationForged):
                await directory.refresh(CONVERSATION)
            with pytest.raises(refusals.ConversationForged):
                await directory.get(CONVERSATION)

    assert ann.pop_events() == [ConversationForged(conversation_id=CONVERSATION, reason="member", user_ids=(GHOST,))]
    fake_node.set_conversation(CONVERSATION, me, peer)
    assert (await directory.get(CONVERSATION)).members == (me, peer)


async def test_a_direct_conversation_is_the_one_that_was_asked_for(
    ann: InboxHarness, node: tuple[FakeNode, MemberDirectory], bo: ProtocolDevice
) -> None:
    fake_node, directory = node
    ConversationPins(ann.store).pin_direct(CONVERSATION, bo.address.user_id)
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, GHOST)

    with pytest.raises(refusals.ConversationForged):
        await directory.get(CONVERSATION)
    with pytest.raises(refusals.ConversationForged):
        ConversationPins(ann.store).pin_direct(CONVERSATION, GHOST)


@pytest.mark.parametrize(("first", "then"), [("direct", "group"), ("group", "direct")])
async def test_a_conversation_never_becomes_one_of_another_kind(
    ann: InboxHarness, node: tuple[FakeNode, MemberDirectory], bo: ProtocolDevice, first: str, then: str
) -> None:
    fake_node, directory = node
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, bo.address.user_id, kind=first)
    await directory.get(CONVERSATION)
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, bo.address.user_id, kind=then)

    with pytest.raises(refusals.ConversationForged):
        await directory.refresh(CONVERSATION)

    assert ann.pop_events() == [ConversationForged(conversation_id=CONVERSATION, reason="kind")]


async def test_a_peer_who_deleted_the_account_is_no_lie(
    ann: InboxHarness, node: tuple[FakeNode, MemberDirectory], bo: ProtocolDevice
) -> None:
    fake_node, directory = node
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, bo.address.user_id)
    await directory.get(CONVERSATION)
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id)

    assert (await directory.refresh(CONVERSATION)).members == (ann.local_device.user_id,)

    assert ann.pop_events() == []


async def test_newcomers_of_a_group_are_told_with_whether_their_key_was_compared(
    ann: InboxHarness, node: tuple[FakeNode, MemberDirectory], bo: ProtocolDevice
) -> None:
    (fake_node, directory), me, peer = node, ann.local_device.user_id, bo.address.user_id
    fake_node.set_conversation(CONVERSATION, me, peer, kind="group")
    await directory.get(CONVERSATION)
    assert ann.pop_events() == []
    Peers(ann.store).save_identity(CY, bytes(32))
    ann.store.put("verified", str(CY), bytes(32))

    fake_node.set_conversation(CONVERSATION, me, peer, CY, GHOST, kind="group")
    await directory.refresh(CONVERSATION)

    assert ann.pop_events() == [
        MemberAdded(conversation_id=CONVERSATION, user_id=CY, is_verified=True),
        MemberAdded(conversation_id=CONVERSATION, user_id=GHOST, is_verified=False),
    ]


async def test_whoever_one_adds_oneself_is_not_told_and_whoever_comes_with_them_is(
    ann: InboxHarness, node: tuple[FakeNode, MemberDirectory]
) -> None:
    _, directory = node
    ann.pin_conversation(ann.local_device.user_id)
    members = [{"userId": str(each)} for each in (ann.local_device.user_id, CY, GHOST)]
    said = {"conversationId": str(CONVERSATION), "kind": "group", "version": 1, "members": members}

    directory.record(said, expected=ExpectedMembers([CY]))

    assert [each.body["userId"] for each in ann.pop_events()] == [str(GHOST)]


def test_in_a_direct_conversation_nobody_else_is_heard(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ann.pin_conversation(bo.address.user_id, is_group=False)
    eve = ProtocolDevice()

    assert [each.name for each in ann.receive_content(bo, make_content())] == ["message"]

    forged = ConversationForged(conversation_id=CONVERSATION, reason="member", user_ids=(eve.address.user_id,))
    assert ann.receive_content(eve, make_content()) == [forged]
    assert Peers(ann.store).identity_key(eve.address.user_id) is None


def test_contents_for_a_group_count_from_its_members(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ann.pin_conversation(bo.address.user_id)
    eve = ProtocolDevice()

    assert [each.name for each in ann.receive_content(bo, make_content())] == ["message"]

    forged = MemberForged(conversation_id=CONVERSATION, user_id=eve.address.user_id, kind="content")
    assert ann.receive_content(eve, make_content()) == [forged]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_key_of_a_title_counts_only_from_a_member(ann: InboxHarness, bo: ProtocolDevice, *, is_known: bool) -> None:
    evil, eve = b"\2" * 32, ProtocolDevice()
    if is_known:
        ann.pin_conversation(bo.address.user_id)

    ann.receive_content(eve, make_content("groupKey", groupKey=encode_base64(evil), generation=0))

    sealed = seal_blob(evil, BlobKind.GROUP_INFO, {"title": "Board - pay to account 666"})
    assert GroupKeys(ann.store).open_info(CONVERSATION, sealed) == (None, {})


def test_who_left_gives_no_key_of_a_title_any_more_and_late_mail_of_theirs_is_read(
    ann: InboxHarness, bo: ProtocolDevice
) -> None:
    ann.pin_conversation(bo.address.user_id, CY)
    pin = ConversationPins(ann.store).get(CONVERSATION)
    assert pin
    ConversationPins(ann.store).save(CONVERSATION, pin.with_members([CY], 1))
    evil = b"\2" * 32

    assert ann.receive_content(bo, make_content("groupKey", groupKey=encode_base64(evil), generation=9)) == []
    assert [each.name for each in ann.receive_content(bo, make_content())] == ["message"]

    assert GroupKeys(ann.store).open_info(CONVERSATION, seal_blob(evil, BlobKind.GROUP_INFO, {"title": "x"})) == (
        None,
        {},
    )


async def test_who_came_and_went_between_two_looks_is_told_and_heard(
    ann: InboxHarness, node: tuple[FakeNode, MemberDirectory], bo: ProtocolDevice
) -> None:
    (fake_node, directory), dan = node, ProtocolDevice()
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, bo.address.user_id, kind="group")
    await directory.get(CONVERSATION)
    fake_node.set_conversation(CONVERSATION, ann.local_device.user_id, bo.address.user_id, kind="group", version=3)
    await directory.refresh(CONVERSATION)
    evil = encode_base64(bytes(32))

    assert [each.name for each in ann.receive_content(dan, make_content("groupKey", groupKey=evil, generation=0))] == [
        "memberForged"
    ]
    assert [each.name for each in ann.receive_content(dan, make_content())] == ["memberAdded", "message"]
    assert [each.name for each in ann.receive_content(dan, make_content())] == ["message"]


def test_a_sender_key_counts_only_from_a_member(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ann.pin_conversation(bo.address.user_id)
    eve, where = ProtocolDevice(), None
    for device, fake_node in ((bo, ["message"]), (eve, ["unreadable"])):
        where = SenderKeyScope(CONVERSATION, device.address)
        key = SenderKey.generate(where)
        ann.receive_content(device, make_content("senderKey", **key.distribution().fields()))
        _, sealed = key.seal(make_content().pack())
        ann.receive(device.address, sealed)
        assert [each.name for each in ann.pop_events()] == fake_node


def moved(ann: InboxHarness, sealed: bytes, bo: ProtocolDevice, where: UUID) -> ProcessedPage:
    return ann.receive(bo.address, sealed, where=where)


def test_a_message_that_was_moved_is_read_where_it_belongs(ann: InboxHarness, bo: ProtocolDevice) -> None:
    ann.receive_content(bo, make_content())
    sealed, elsewhere = ann.seal(bo, make_content(text="come at once").pack()), UUID(int=8)

    taken = moved(ann, sealed, bo, elsewhere)
    [refused] = ann.pop_events()
    assert isinstance(refused, Unreadable)
    assert refused.reason == "ContextMismatch"
    # The node learns that it was discarded, not what was found inside.
    assert [reason for _, reason in taken.discarded] == ["BadContent"]

    moved(ann, sealed, bo, CONVERSATION)
    assert [each.text for each in ann.pop_events() if isinstance(each, Message)] == ["come at once"]


def test_a_first_message_that_was_moved_uses_no_prekey_up(ann: InboxHarness, bo: ProtocolDevice) -> None:
    sealed = ann.seal(bo, make_content().pack())

    moved(ann, sealed, bo, UUID(int=8))
    moved(ann, sealed, bo, CONVERSATION)

    assert [each.name for each in ann.pop_events()] == ["unreadable", "message"]
