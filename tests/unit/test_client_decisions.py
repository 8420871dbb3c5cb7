"""What waits for a decision of the person here, by conversation and account: noted where it arises, gone once it is decided."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from vyry.client.circles import Circles
from vyry.client.decisions import Decisions
from vyry.client.device import Me
from vyry.client.journal import Journal
from vyry.client.outgoing import Outgoing, Queue
from vyry.client.peers import Peers, accept_identity, note_changed, note_unchanged
from vyry.client.rest import Rest
from vyry.client.stopped import Stopped
from vyry.client.store import Store
from vyry.signal_protocol.contents import Content
from vyry.signal_protocol.refusals import IdentityChanged, IdentityForged


ANN, BO, EVE = uuid4(), uuid4(), uuid4()
CHAT, OTHER, GROUP = uuid4(), uuid4(), uuid4()
OLD, NEW = bytes(32), bytes([1]) * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Ann's, who holds a key of Bo."""
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        Me.fresh(ANN, 1).keep(opened)
        with opened.transaction():
            Peers(opened).keep_identity(BO, OLD)
        yield opened


@pytest.fixture(autouse=True)
async def circles(store: Store) -> AsyncIterator[Circles]:
    """Her conversations: a direct one with Bo. No node is asked."""
    async with aiohttp.ClientSession() as http:
        made = Circles(store, Rest(http, "http://127.0.0.1:1", store), lambda: 0)
        made.keep(told(CHAT, ANN, BO))
        yield made


def wait(store: Store, where: UUID, lane: str = "mail") -> UUID:
    """A message that waits there."""
    content = Content("text", uuid4(), 5, where, {"text": "hello"})
    with store.transaction():
        Queue(store).add(Outgoing.of(content, 5, lane))
    return content.id


def told(where: UUID, *members: UUID, kind: str = "direct") -> dict[str, Any]:
    """A conversation as the node lists it."""
    listed = [{"userId": str(each), "role": "member"} for each in members]
    return {"conversationId": str(where), "kind": kind, "version": 1, "members": listed}


def found(store: Store, *among: UUID) -> list[dict[str, Any]]:
    return [each.body for each in Decisions(store).all(among)]


def test_a_changed_key_waits_with_what_was_written_there_and_nothing_else(store: Store) -> None:
    with store.transaction():
        note_changed(store, BO, NEW)
    assert found(store) == [{"decide": "identityChanged", "userId": str(BO), "waiting": 0, "held": 0}]
    first = wait(store, CHAT)
    wait(store, CHAT, "control")
    wait(store, OTHER)

    here = {"decide": "identityChanged", "conversationId": str(CHAT), "userId": str(BO), "waiting": 1, "held": 0}
    assert found(store) == found(store, CHAT, OTHER) == [here]
    assert Decisions(store).of(OTHER) == []
    assert first in Decisions(store).unsent(CHAT)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_key_that_is_accepted_or_told_no_more_is_nothing_to_decide(store: Store, *, is_accepted: bool) -> None:
    wait(store, CHAT)
    with store.transaction():
        note_changed(store, BO, NEW)
        Stopped(store).note(CHAT, IdentityChanged())
    assert found(store)

    with store.transaction():
        accept_identity(store, BO, NEW) if is_accepted else note_unchanged(store, BO)

    assert found(store, CHAT) == []


def test_in_a_group_a_changed_key_holds_up_no_message(store: Store, circles: Circles) -> None:
    circles.keep(told(GROUP, ANN, BO, EVE, kind="group"))
    wait(store, GROUP)
    with store.transaction():
        note_changed(store, EVE, NEW)

    here = {"decide": "identityChanged", "conversationId": str(GROUP), "userId": str(EVE), "waiting": 0, "held": 0}
    assert found(store, GROUP, CHAT) == [here]


def test_keys_that_never_verify_stop_a_conversation_until_something_is_sent_there(store: Store) -> None:
    wait(store, CHAT)
    with store.transaction():
        Stopped(store).note(CHAT, IdentityForged())
    assert [each["decide"] for each in found(store)] == ["identityForged"]

    with store.transaction():
        Stopped(store).clear(CHAT)

    assert found(store) == []


def test_a_conversation_that_is_listed_otherwise_than_pinned_is_forged_while_it_is(
    store: Store, circles: Circles
) -> None:
    circles.check(told(OTHER, ANN, BO, EVE))
    assert found(store, OTHER) == []

    for _ in range(2):
        circles.check(told(CHAT, ANN, BO, EVE))
    assert [each["decide"] for each in found(store)] == ["conversationForged"]
    event = Journal(store).next()
    assert event is not None
    assert event.body == {"conversationId": str(CHAT), "reason": "member", "userIds": [str(EVE)]}

    circles.check(told(CHAT, ANN, BO))
    assert found(store) == []
