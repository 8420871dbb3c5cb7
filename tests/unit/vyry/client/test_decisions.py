"""Pending decisions of the user, by conversation and account: recorded where they arise, gone once decided."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from vyry.client.crypto.conversation_members import MemberDirectory
from vyry.client.crypto.local_device import LocalDevice
from vyry.client.crypto.peers import Peers, accept_identity, clear_changed_key, record_changed_key
from vyry.client.store.journal import Journal
from vyry.client.store.outgoing import HeldConversations, Outgoing, SendQueue
from vyry.client.store.store import Store
from vyry.client.sync.pending_decisions import PendingDecisions
from vyry.client.transport.rest import RestClient
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.refusals import IdentityChanged, IdentityForged


ANN, BO, EVE = uuid4(), uuid4(), uuid4()
CHAT, OTHER, GROUP = uuid4(), uuid4(), uuid4()
OLD, NEW = bytes(32), bytes([1]) * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Ann's store, with a key of Bo."""
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        LocalDevice.generate(ANN, 1).save(opened)
        with opened.transaction():
            Peers(opened).save_identity(BO, OLD)
        yield opened


@pytest.fixture(autouse=True)
async def directory(store: Store) -> AsyncIterator[MemberDirectory]:
    """Her conversations: a direct one with Bo. The node is not asked."""
    async with aiohttp.ClientSession() as http:
        made = MemberDirectory(store, RestClient(http, "http://127.0.0.1:1", store), lambda: 0)
        made.record(conversation_row(CHAT, ANN, BO))
        yield made


def add_waiting_message(store: Store, where: UUID, lane: str = "mail") -> UUID:
    """Queue a message there."""
    content = Content("text", uuid4(), 5, where, {"text": "hello"})
    with store.transaction():
        SendQueue(store).add(Outgoing.from_content(content, 5, lane))
    return content.id


def conversation_row(where: UUID, *members: UUID, kind: str = "direct") -> dict[str, Any]:
    """A conversation in the node's list."""
    listed = [{"userId": str(each), "role": "member"} for each in members]
    return {"conversationId": str(where), "kind": kind, "version": 1, "members": listed}


def stored_decisions(store: Store, *among: UUID) -> list[dict[str, Any]]:
    return [each.body for each in PendingDecisions(store).all(among)]


def test_a_changed_key_waits_with_what_was_written_there_and_nothing_else(store: Store) -> None:
    with store.transaction():
        record_changed_key(store, BO, NEW)
    assert stored_decisions(store) == [{"decide": "identityChanged", "userId": str(BO), "waiting": 0, "held": 0}]
    first = add_waiting_message(store, CHAT)
    add_waiting_message(store, CHAT, "control")
    add_waiting_message(store, OTHER)

    here = {"decide": "identityChanged", "conversationId": str(CHAT), "userId": str(BO), "waiting": 1, "held": 0}
    assert stored_decisions(store) == stored_decisions(store, CHAT, OTHER) == [here]
    assert PendingDecisions(store).of(OTHER) == []
    assert first in PendingDecisions(store).unsent(CHAT)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_key_that_is_accepted_or_told_no_more_is_nothing_to_decide(store: Store, *, is_accepted: bool) -> None:
    add_waiting_message(store, CHAT)
    with store.transaction():
        record_changed_key(store, BO, NEW)
        HeldConversations(store).add(CHAT, IdentityChanged())
    assert stored_decisions(store)

    with store.transaction():
        accept_identity(store, BO, NEW) if is_accepted else clear_changed_key(store, BO)

    assert stored_decisions(store, CHAT) == []


def test_in_a_group_a_changed_key_holds_up_no_message(store: Store, directory: MemberDirectory) -> None:
    directory.record(conversation_row(GROUP, ANN, BO, EVE, kind="group"))
    add_waiting_message(store, GROUP)
    with store.transaction():
        record_changed_key(store, EVE, NEW)

    here = {"decide": "identityChanged", "conversationId": str(GROUP), "userId": str(EVE), "waiting": 0, "held": 0}
    assert stored_decisions(store, GROUP, CHAT) == [here]


def test_keys_that_never_verify_stop_a_conversation_until_something_is_sent_there(store: Store) -> None:
    add_waiting_message(store, CHAT)
    with store.transaction():
        HeldConversations(store).add(CHAT, IdentityForged())
    assert [each["decide"] for each in stored_decisions(store)] == ["identityForged"]

    with store.transaction():
        HeldConversations(store).remove(CHAT)

    assert stored_decisions(store) == []


def test_a_conversation_that_is_listed_otherwise_than_pinned_is_forged_while_it_is(
    store: Store, directory: MemberDirectory
) -> None:
    directory.check(conversation_row(OTHER, ANN, BO, EVE))
    assert stored_decisions(store, OTHER) == []

    for _ in range(2):
        directory.check(conversation_row(CHAT, ANN, BO, EVE))
    assert [each["decide"] for each in stored_decisions(store)] == ["conversationForged"]
    event = Journal(store).next_event()
    assert event is not None
    assert event.body == {"conversationId": str(CHAT), "reason": "member", "userIds": [str(EVE)]}

    directory.check(conversation_row(CHAT, ANN, BO))
    assert stored_decisions(store) == []
