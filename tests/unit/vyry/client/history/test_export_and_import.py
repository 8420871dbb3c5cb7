"""A history goes out of one store and into another: complete, in order, once, and beside what the other store has."""

import io
import secrets
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.histories import BO, CAI, DIRECT, GROUP, ME, NOW, add, fill, message, new_store, shown
from vyry.client.crypto.identity_decisions import IdentityDecisions
from vyry.client.history.errors import ImportPending
from vyry.client.history.export import DEFAULT_OPTIONS, ExportOptions, HistoryExport
from vyry.client.history.importing import HistoryImport, ImportState, drop_import, pending_import
from vyry.client.history.reading import ArchiveReader
from vyry.client.store import kinds
from vyry.client.store.archived_conversations import ArchivedConversations
from vyry.client.store.journal import Journal
from vyry.client.store.remembered_names import RememberedNames
from vyry.client.store.store import Store


KEY = bytes(range(32))


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "old") as store:
        fill(store)
        yield store


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path / "new") as store:
        yield store


def export(store: Store, options: ExportOptions = DEFAULT_OPTIONS) -> io.BytesIO:
    return io.BytesIO(b"".join(HistoryExport(store, KEY, NOW, options).sealed()))


def importing(store: Store, archive: io.BytesIO) -> HistoryImport:
    reader = ArchiveReader(archive, KEY)
    return HistoryImport(store, reader, reader.verify())


def restore(store: Store, archive: io.BytesIO) -> ImportState:
    return importing(store, archive).run(NOW)


def test_another_device_shows_the_same_history(old: Store, new: Store) -> None:
    state = restore(new, export(old))

    assert (state.added, state.known) == (14, 0)
    assert shown(new, DIRECT) == shown(old, DIRECT)
    assert shown(new, GROUP) == shown(old, GROUP)
    assert len(shown(new, DIRECT)) == 10
    assert Journal(new).next_event() is None


def test_contacts_titles_and_timers_come_too_and_no_session_key(old: Store, new: Store) -> None:
    old.put(kinds.SESSIONS, f"{BO}/1", b"session")
    old.put(kinds.SENDER_KEYS, "key", b"sender key")
    restore(new, export(old))

    assert RememberedNames(new).account("@bo") == BO
    pin = IdentityDecisions(new).current_pin(BO)
    assert pin is not None
    assert (pin.identity_key, pin.is_verified) == (b"\1" * 32, True)
    assert new.get(kinds.PROFILE_KEY, str(BO)) == b"\3" * 32
    assert ArchivedConversations(new).title(GROUP) == "Alpine club"
    assert new.get(kinds.TIMER, str(GROUP)) == b"60"
    assert not new.all(kinds.SESSIONS)
    assert not new.all(kinds.SENDER_KEYS)


def test_a_second_import_doubles_nothing(old: Store, new: Store) -> None:
    archive = export(old)
    restore(new, archive)
    # Long after, when the store recognizes no content by its id any more.
    new.delete_expired(NOW + 100 * 86_400_000)
    before = Journal(new).history(DIRECT, 100)
    again = restore(new, archive)

    assert again.added == 0
    assert Journal(new).history(DIRECT, 100) == before
    assert restore(old, archive).added == 0


def test_live_messages_stay_behind_the_imported_ones_and_are_not_doubled(old: Store, new: Store) -> None:
    add(old, message(6))
    archive = export(old)
    add(new, message(6))
    add(new, message(7))
    steps = importing(new, archive).steps(NOW)
    next(steps)
    add(new, message(8))
    for _ in steps:
        pass

    add(old, message(7))
    add(old, message(8))
    assert shown(new, DIRECT) == shown(old, DIRECT)


def test_an_import_goes_on_behind_its_last_frame(old: Store, new: Store) -> None:
    with old.transaction():
        for number in range(100, 2_500):
            add(old, message(number))
    reader = ArchiveReader(export(old), KEY)
    summary, steps = reader.verify(), 0
    while pending_import(new) is not None or not steps:
        running = HistoryImport(new, reader, summary).steps(NOW)
        next(running)
        # The process ends here.
        running.close()
        steps += 1

    assert steps > 2
    assert shown(new, DIRECT) == shown(old, DIRECT)
    assert not new.all(kinds.HISTORY_IMPORTED)


def test_a_half_imported_history_can_be_dropped_whole(old: Store, new: Store) -> None:
    add(new, message(1))
    with old.transaction():
        for number in range(100, 2_000):
            add(old, message(number))
    before = [shown(new, DIRECT), shown(new, GROUP), len(new.all(kinds.KNOWN_CONTENT))]
    steps = importing(new, export(old)).steps(NOW)
    next(steps)
    next(steps)
    steps.close()
    assert len(shown(new, DIRECT)) > 1

    assert drop_import(new) > 0
    assert [shown(new, DIRECT), shown(new, GROUP), len(new.all(kinds.KNOWN_CONTENT))] == before
    assert pending_import(new) is None
    assert drop_import(new) == 0


def test_another_archive_waits_until_the_half_imported_one_is_decided(old: Store, new: Store) -> None:
    steps = importing(new, export(old)).steps(NOW)
    next(steps)
    steps.close()

    with pytest.raises(ImportPending, match="--drop"):
        importing(new, export(old))


def test_another_account_reads_the_conversations_as_an_archive(old: Store, tmp_path: Path) -> None:
    with new_store(tmp_path / "other", CAI) as other:
        restore(other, export(old))

        assert [event.body["id"] for event in Journal(other).history(DIRECT, 2)]
        assert ArchivedConversations(other).directs_with(BO) == (DIRECT,)
        assert RememberedNames(other).account("@bo") == BO
        own = [event for event in Journal(other).history(DIRECT, 100) if getattr(event, "is_own", False)]
        assert [getattr(event, "sender_id", None) for event in own] == [ME]


def test_two_archives_of_one_account_are_put_in_order(tmp_path: Path, new: Store) -> None:
    archives = []
    for name, numbers in (("a", (1, 2, 5)), ("b", (2, 3, 4, 5, 6))):
        with new_store(tmp_path / name) as store:
            for number in numbers:
                add(store, message(number))
            archives.append(export(store))
    for archive in archives:
        restore(new, archive)

    assert [event.body["text"] for event in Journal(new).history(DIRECT, 100)] == [f"message {n}" for n in range(1, 7)]


def test_view_once_and_disappearing_messages_do_not_go_into_a_backup(old: Store, new: Store) -> None:
    add(old, message(50, is_view_once=True))
    add(old, message(51, timer_seconds=60))
    add(old, message(52))
    Journal(old).set_expiry(Journal(old).add(message(53, timer_seconds=60), is_handled=True), NOW + 60_000)
    texts = {event.body.get("text") for event in _restored(old, new, ExportOptions())}

    assert "message 52" in texts
    assert texts.isdisjoint({"message 50", "message 51", "message 53"})


def test_a_linked_device_gets_disappearing_messages_until_their_end(old: Store, new: Store) -> None:
    Journal(old).set_expiry(Journal(old).add(message(53, timer_seconds=60), is_handled=True), NOW + 60_000)
    Journal(old).set_expiry(Journal(old).add(message(54, timer_seconds=60), is_handled=True), NOW - 1)
    texts = {event.body.get("text") for event in _restored(old, new, ExportOptions("link", with_disappearing=True))}
    assert "message 53" in texts
    assert "message 54" not in texts

    new.delete_expired(NOW + 60_001)
    assert "message 53" not in {event.body.get("text") for event in Journal(new).history(DIRECT, 100)}


def test_only_the_days_that_were_asked_for_go_out(old: Store, new: Store) -> None:
    for number in range(2_000, 2_003):
        add(old, message(number))
    since = message(2_001).at
    texts = [event.body.get("text") for event in _restored(old, new, ExportOptions(since=since))]

    assert texts == ["message 2001", "message 2002"]


def _restored(old: Store, new: Store, options: ExportOptions) -> list:  # type: ignore[type-arg]
    restore(new, export(old, options))
    return Journal(new).history(DIRECT, 1_000)


async def test_the_bytes_of_an_archive_come_one_by_one(old: Store) -> None:
    export_ = HistoryExport(old, KEY, NOW)
    archive = io.BytesIO(b"".join([part async for part in export_]))

    summary = ArchiveReader(archive, KEY).verify()
    assert summary.end == export_.end
    assert (summary.end.messages, summary.end.conversations, summary.end.contacts) == (14, 2, 2)


def test_a_long_history_in_a_random_order_is_the_same_on_both_sides(old: Store, new: Store) -> None:
    numbers = {secrets.randbelow(10**6) for _ in range(300)}
    with old.transaction():
        for number in numbers:
            add(old, message(1_000 + number, conversation_id=(DIRECT, GROUP)[secrets.randbelow(2)]))
    restore(new, export(old))

    for conversation_id in (DIRECT, GROUP, UUID(int=99)):
        assert shown(new, conversation_id) == shown(old, conversation_id)
