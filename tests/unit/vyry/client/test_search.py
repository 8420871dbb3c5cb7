"""A search over the messages of a profile: the newest first, as they read now, and with nothing of it left in a file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from vyry.client.api.search import MessageSearch
from vyry.client.errors import NothingToSee
from vyry.client.store.events import Attachment, Edit, Message, Reaction, Target, Unsend
from vyry.client.store.journal import Journal
from vyry.client.store.search import MessageScan, SearchQuery
from vyry.client.store.store import Store
from vyry.kernel.search_text import search_words


GARDEN, OFFICE = uuid4(), uuid4()
ANN, BO = uuid4(), uuid4()
NOW = 1_790_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        yield opened


def say(store: Store, text: str, where: UUID = GARDEN, sender: UUID = BO, at: int = NOW, **more: Any) -> Message:
    message = Message(conversation_id=where, sender_id=sender, sender_device_id=1, id=uuid4(), at=at, text=text, **more)
    Journal(store).add(message, is_handled=True)
    return message


def change(
    store: Store, kind: type[Edit] | type[Unsend] | type[Reaction], target: Target, where: UUID = GARDEN, **fields: Any
) -> None:
    common: dict[str, Any] = {
        "conversation_id": where,
        "sender_id": target.sender_id,
        "sender_device_id": 1,
        "id": uuid4(),
        "at": NOW,
    }
    Journal(store).add(kind(**common, of=target, **fields), is_handled=True)


def find(store: Store, words: str, limit: int = 50, **query: Any) -> list[str]:
    hits = MessageScan(store, SearchQuery(search_words(words), NOW, **query)).hits(limit, 0)
    return [hit.message.text for hit in hits]


def test_the_newest_messages_come_first_and_have_all_words(store: Store) -> None:
    for text in ("a green garden", "a garden", "the Garden is GREEN", "green"):
        say(store, text)

    assert find(store, "garden green") == ["the Garden is GREEN", "a green garden"]
    assert find(store, "garden", limit=2) == ["the Garden is GREEN", "a garden"]
    assert find(store, "desert") == []


def test_a_search_can_be_for_one_conversation_and_from_one_day_on(store: Store) -> None:
    say(store, "tea at home", GARDEN, at=NOW - 10)
    say(store, "tea at work", OFFICE, at=NOW)

    assert find(store, "tea", conversation_ids=(GARDEN,)) == ["tea at home"]
    assert find(store, "tea", conversation_ids=(GARDEN, OFFICE)) == ["tea at work", "tea at home"]
    assert find(store, "tea", since=NOW) == ["tea at work"]
    assert find(store, "tea", conversation_ids=(uuid4(),)) == []


def test_an_edited_message_is_found_by_its_latest_text_only(store: Store) -> None:
    message = say(store, "meet on Monday")
    change(store, Edit, message.target, text="meet on Tuesday")
    change(store, Edit, message.target, text="meet on Friday")
    change(store, Reaction, message.target, emoji="👍")

    assert find(store, "Monday") == find(store, "Tuesday") == []
    assert find(store, "friday") == ["meet on Friday"]
    hit = MessageScan(store, SearchQuery(("friday",), NOW)).hits(1, 0)[0]
    assert (hit.is_edited, hit.message.id) == (True, message.id)


def test_an_unsent_message_is_not_found_even_when_an_edit_came_later(store: Store) -> None:
    message = say(store, "a secret plan")
    change(store, Unsend, message.target)
    change(store, Edit, message.target, text="a secret plan again")

    assert find(store, "secret") == []


def test_a_change_counts_in_its_own_conversation_only(store: Store) -> None:
    message = say(store, "kept here")
    change(store, Unsend, message.target, where=OFFICE)

    assert find(store, "kept") == ["kept here"]


def test_an_expired_message_is_not_found_though_it_was_not_deleted_yet(store: Store) -> None:
    say(store, "stays a while")
    message = say(store, "stays no while")
    number = Journal(store).history(GARDEN, 1)[0].number
    Journal(store).set_expiry(number, NOW)
    change(store, Edit, message.target, text="stays no while, edited")

    assert find(store, "while") == ["stays a while"]


def test_names_of_files_are_found(store: Store) -> None:
    file = Attachment(uuid4(), bytes(32), bytes(32), 5, "image/jpeg", "Größe.jpg")
    say(store, "look", attachments=(file,))

    assert find(store, "grosse look") == ["look"]


def test_the_context_is_what_was_said_around_it_as_it_reads_now(store: Store) -> None:
    first, gone, hit = say(store, "first"), say(store, "gone"), None
    say(store, "elsewhere", OFFICE)
    change(store, Edit, first.target, text="first, edited")
    hit = say(store, "the needle")
    change(store, Unsend, gone.target)
    late = say(store, "late")
    change(store, Edit, late.target, text="late, edited")
    say(store, "last")

    [found] = MessageScan(store, SearchQuery(("needle",), NOW)).hits(1, 2)

    assert found.message.id == hit.id
    assert [each.text for each in found.before] == ["first, edited"]
    assert [each.text for each in found.after] == ["late, edited", "last"]


async def test_a_search_without_a_word_is_refused(store: Store) -> None:
    with pytest.raises(NothingToSee):
        await MessageSearch(store)(" \u200b ")


def contents(folder: Path) -> list[bytes]:
    return [each.read_bytes() for each in folder.rglob("*") if each.is_file()]


async def test_a_search_leaves_no_word_of_a_message_in_any_file_of_the_profile(store: Store, tmp_path: Path) -> None:
    for number in range(300):
        say(store, f"zanzibar-{number} pomegranate")

    assert len(await MessageSearch(store)("zanzibar pomegranate", limit=300, context=2)) == 300
    while_open = contents(tmp_path)
    store.close()
    closed = contents(tmp_path)

    assert len(while_open) > 1
    for word in (b"zanzibar", b"pomegranate", "zanzibar".encode("utf-16-le")):
        assert not any(word in content for content in (*while_open, *closed))
    tables = sqlite3.connect(tmp_path / "vyry.db").execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    assert {name for (name,) in tables} == {"value", "event", "proof", "sqlite_sequence"}
