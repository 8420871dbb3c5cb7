"""The timer of a conversation, set by either side, goes into every text that is sent afterwards."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.client_inbox import CONVERSATION, NOW, InboxHarness, make_content, open_inbox
from tests.support.fake_node import open_fake_node
from tests.support.protocol_devices import ProtocolDevice
from vyry.client.store.events import Message
from vyry.client.store.outgoing import SendQueue, UnsentMessages, read_fields
from vyry.client.sync.outbox import Outbox
from vyry.signal_protocol.contents import Content


@pytest.fixture
def ann(tmp_path: Path) -> Iterator[InboxHarness]:
    with open_inbox(tmp_path) as opened:
        yield opened


@pytest.fixture
async def outbox(ann: InboxHarness) -> AsyncIterator[Outbox]:
    async with open_fake_node(ann.store) as (_, rest):
        yield Outbox(ann.store, rest, lambda: NOW)


def send(ann: InboxHarness, outbox: Outbox, kind: str, where: UUID = CONVERSATION, **fields: Any) -> None:
    outbox.queue_content(Content(kind, uuid4(), NOW, where, fields), ann.inbox.processor)


def sent_timers(ann: InboxHarness) -> list[object]:
    sent = [read_fields(each.plaintext) for each in SendQueue(ann.store).pending() if each.lane == "mail"]
    return [each.get("timerSeconds") for each in sent if each["kind"] == "text"]


async def test_texts_after_a_timer_disappear_and_those_before_stay(ann: InboxHarness, outbox: Outbox) -> None:
    send(ann, outbox, "text", text="before")
    send(ann, outbox, "timer", seconds=60)
    send(ann, outbox, "text", text="after")
    send(ann, outbox, "text", where=uuid4(), text="elsewhere")
    send(ann, outbox, "text", text="with its own", timerSeconds=5)
    send(ann, outbox, "timer", seconds=0)
    send(ann, outbox, "text", text="at last")

    assert sent_timers(ann) == [None, 60, None, 5, None]
    ann.store.delete_expired(NOW + 61_000)
    left = [each.text for each in ann.inbox._journal.history(CONVERSATION, 10) if isinstance(each, Message)]
    assert left == ["before", "at last"]


async def test_a_timer_that_the_other_side_set_counts_too(ann: InboxHarness, outbox: Outbox) -> None:
    bo = ProtocolDevice()
    ann.pin_conversation(bo.address.user_id, is_group=False)
    ann.receive_content(bo, make_content("timer", seconds=30))

    send(ann, outbox, "text", text="hello")

    assert sent_timers(ann) == [30]
    # The same text sent again after a restart is the queued message.
    assert UnsentMessages(ann.store).find(CONVERSATION, "text", {"text": "hello"}) is not None
