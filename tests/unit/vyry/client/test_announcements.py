"""An announcement of the operator is an event of its own; one of a wrong shape is only a notice, and changes nothing."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.client_inbox import NOW, InboxHarness, open_inbox
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.store.events import Announcement, Event, Notice, pack_event, unpack_event
from vyry.client.store.mailbox_chain import entry_digest
from vyry.kernel.base64_text import encode_base64
from vyry.kernel.chain import next_head


FACTS = {"announcementId": "a1", "text": "Maintenance.", "language": "en"}


def receive_notice(inbox: InboxHarness, body: dict[str, Any]) -> list[Event]:
    """The node sends a notice; answers what is told about it."""
    point = LocalDevice.load(inbox.store).point
    assert point is not None
    entry = {"seq": 1, "messageId": str(uuid4()), "postedAt": "2027-01-15T08:00:00.000Z", "notice": body}
    entry["head"] = encode_base64(next_head(point.head, 1, entry_digest(entry)))
    inbox.inbox.process([entry], NOW)
    return inbox.pop_events()


def test_an_announcement_is_an_event_of_its_own_and_is_stored(tmp_path: Path) -> None:
    with open_inbox(tmp_path) as inbox:
        (event,) = receive_notice(inbox, {"name": "announcement", **FACTS})

    assert event == Announcement(announcement_id="a1", text="Maintenance.", language="en")
    assert event.body == FACTS
    assert unpack_event(pack_event(event)) == event


def test_the_language_may_be_missing(tmp_path: Path) -> None:
    with open_inbox(tmp_path) as inbox:
        (event,) = receive_notice(inbox, {"name": "announcement", "announcementId": "a1", "text": "x"})

    assert event == Announcement(announcement_id="a1", text="x")


@pytest.mark.parametrize(
    "change", [{"text": ""}, {"text": "x" * 1001}, {"text": 7}, {"text": None}, {"announcementId": 7}, {"text": ["x"]}]
)
def test_an_announcement_of_a_wrong_shape_is_only_a_notice(tmp_path: Path, change: dict[str, object]) -> None:
    with open_inbox(tmp_path) as inbox:
        (event,) = receive_notice(inbox, {"name": "announcement", **FACTS, **change})

    assert isinstance(event, Notice)
    assert event.notice == "announcement"
