"""The welcome frame names the last post that the node accepted: one that this store does not know was made by a later state of it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.client_inbox import CONVERSATION, NOW, InboxHarness, make_content, open_inbox
from tests.support.fake_node import open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.api.client import Client, Profile
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import OwnSenderKeys
from vyry.client.crypto.prekey_publisher import PrekeyPublisher
from vyry.client.store import kinds
from vyry.client.store.events import Lost
from vyry.client.store.mailbox_chain import MailboxPosition
from vyry.client.store.outgoing import PostedIds
from vyry.signal_protocol.sender_keys import KeyRecipient, SenderKeyScope


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    """A device with a session and an own sender key."""
    with open_inbox(tmp_path) as opened:
        bo = ProtocolDevice()
        opened.receive_content(bo, make_content())
        OwnSenderKeys(opened.store).current(
            SenderKeyScope(CONVERSATION, opened.local_device.protocol_device.address),
            [KeyRecipient(bo.address, 77)],
            NOW,
        )
        yield opened


def is_whole(ann: InboxHarness) -> bool:
    """Whether the keys for sealing are still there, and no new key set is due."""
    sessions = ann.store.all("sessions")
    return (
        bool(sessions)
        and OwnSenderKeys(ann.store).get(CONVERSATION) is not None
        and ann.store.get(kinds.KEYS_DUE) is None
    )


def test_a_post_that_this_store_does_not_know_ends_all_that_it_would_seal_with(ann: InboxHarness) -> None:
    ann.inbox.on_welcome(later := uuid4(), NOW)

    assert [(each.reason, each.count) for each in ann.pop_events() if isinstance(each, Lost)] == [("rolledBack", 0)]
    assert (ann.store.all("sessions"), OwnSenderKeys(ann.store).get(CONVERSATION)) == ([], None)
    assert ann.store.get(kinds.KEYS_DUE) is not None
    # From now on it is known.
    ann.inbox.on_welcome(later, NOW)
    assert ann.pop_events() == []


async def test_nothing_is_asked_for_and_posted_before_the_node_has_greeted(tmp_path: Path) -> None:
    profile = Profile(tmp_path, "", key=bytes(32))
    store = profile.open_store()
    async with open_fake_node(store) as (fake_node, rest):
        with store.transaction():
            me, _ = PrekeyPublisher(store).make_key_set(LocalDevice.generate(uuid4(), 1), round(time.time() * 1_000))
            replace(me, point=MailboxPosition.initial(CONVERSATION)).save(store)
        store.close()
        async with Client.open(replace(profile, url=rest.url)) as client:
            await client.send_text(CONVERSATION, "too early")
            await fake_node.wait_for_request("GET /ws", 2)

    # Nothing but the socket was tried.
    assert set(fake_node.requests) == {"GET /ws"}


def test_an_own_post_and_none_at_all_say_nothing(ann: InboxHarness) -> None:
    PostedIds(ann.store).add(own := uuid4())

    for named in (None, own):
        ann.inbox.on_welcome(named, NOW)

    assert ann.pop_events() == []
    assert is_whole(ann)
