"""The node's greeting names the last post that it accepted: one that this store does not know was made by a later state of it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, mailed_store
from tests.signal_devices import Device
from tests.told_node import told_node
from vyry.client.chain import Point
from vyry.client.client import Client, Profile
from vyry.client.device import Me
from vyry.client.events import Lost
from vyry.client.outgoing import Posted
from vyry.client.own_keys import OwnKeys
from vyry.client.publishing import Publishing
from vyry.client.upkeep import KEYS_DUE
from vyry.signal_protocol.sender_keys import Reader, Where


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[MailedStore]:
    """With a session and an own sender key."""
    with mailed_store(tmp_path) as opened:
        bo = Device()
        opened.hears(bo, content())
        OwnKeys(opened.store).current(Where(HERE, opened.me.own.address), [Reader(bo.address, 77)], NOW)
        yield opened


def is_whole(ann: MailedStore) -> bool:
    """Whether what was held to seal with is there still, and no new keys are due."""
    sessions = ann.store.all("sessions")
    return bool(sessions) and OwnKeys(ann.store).get(HERE) is not None and ann.store.get(KEYS_DUE) is None


def test_a_post_that_this_store_does_not_know_ends_all_that_it_would_seal_with(ann: MailedStore) -> None:
    ann.inbox.greeted(later := uuid4(), NOW)

    assert [(each.reason, each.count) for each in ann.told() if isinstance(each, Lost)] == [("rolledBack", 0)]
    assert (ann.store.all("sessions"), OwnKeys(ann.store).get(HERE)) == ([], None)
    assert ann.store.get(KEYS_DUE) is not None
    # From here on it is known.
    ann.inbox.greeted(later, NOW)
    assert ann.told() == []


async def test_nothing_is_asked_for_and_posted_before_the_node_has_greeted(tmp_path: Path) -> None:
    profile = Profile(tmp_path, "", key=bytes(32))
    store = profile.open_store()
    async with told_node(store) as (told, rest):
        me, _ = Publishing(store).whole_set(Me.fresh(uuid4(), 1), round(time.time() * 1_000))
        replace(me, point=Point.first(HERE)).keep(store)
        store.close()
        async with Client.open(replace(profile, url=rest.url)) as client:
            await client.send_text(HERE, "too early")
            await told.is_asked("GET /ws", 2)

    # The socket is all that was tried.
    assert set(told.asked) == {"GET /ws"}


def test_an_own_post_and_none_at_all_say_nothing(ann: MailedStore) -> None:
    Posted(ann.store).note(own := uuid4())

    for named in (None, own):
        ann.inbox.greeted(named, NOW)

    assert ann.told() == []
    assert is_whole(ann)
