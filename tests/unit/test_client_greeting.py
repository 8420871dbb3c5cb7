"""The node's greeting names the last post that it accepted: one that this store does not know was made by a later state of it."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.mailed_store import HERE, NOW, MailedStore, content, mailed_store
from tests.signal_devices import Device
from vyry.client.events import Lost
from vyry.client.outgoing import Posted
from vyry.client.own_keys import OwnKeys
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


def test_an_own_post_and_none_at_all_say_nothing(ann: MailedStore) -> None:
    Posted(ann.store).note(own := uuid4())

    for named in (None, own):
        ann.inbox.greeted(named, NOW)

    assert ann.told() == []
    assert is_whole(ann)
