"""The store of a device: parts of a transaction that fail alone, deleted values that are in no file, and rows that something else changed."""

import hmac
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vyry.client.errors import StoreFailed, StoreLocked
from vyry.client.store.events import Lost, Message
from vyry.client.store.journal import Journal
from vyry.client.store.store import DAY_MS, Store


class BlockError(Exception):
    """Raised by a block."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        yield opened


def put_and_fail(store: Store, name: str) -> None:
    store.put("kind", name, b"inside")
    raise BlockError


def failing_attempt(store: Store, name: str) -> None:
    with pytest.raises(BlockError), store.savepoint():
        put_and_fail(store, name)


def test_a_failed_attempt_is_undone_and_the_transaction_around_it_goes_on(store: Store) -> None:
    with store.transaction():
        store.put("kind", "a", b"before")
        failing_attempt(store, "a")
        failing_attempt(store, "b")
        store.put("kind", "c", b"after")

    assert [store.get("kind", name) for name in "abc"] == [b"before", None, b"after"]


def test_an_attempt_that_succeeds_falls_with_the_transaction_around_it(store: Store) -> None:
    def attempt_and_fail() -> None:
        with store.savepoint():
            store.put("kind", "a", b"inside")
        raise BlockError

    with pytest.raises(BlockError), store.transaction():
        attempt_and_fail()

    assert store.get("kind", "a") is None


def test_a_failed_attempt_inside_an_attempt_undoes_the_inner_one_alone(store: Store) -> None:
    with store.transaction(), store.savepoint():
        store.put("kind", "a", b"outer")
        failing_attempt(store, "b")
        # A nested transaction belongs to the one around it.
        with store.transaction():
            store.put("kind", "c", b"nested")

    assert [store.get("kind", name) for name in "abc"] == [b"outer", None, b"nested"]


def test_a_transaction_inside_an_attempt_is_undone_with_it(store: Store) -> None:
    def nest_and_fail() -> None:
        with store.transaction():
            store.put("kind", "a", b"nested")
        raise BlockError

    with store.transaction(), pytest.raises(BlockError), store.savepoint():
        nest_and_fail()

    assert store.get("kind", "a") is None


def test_an_attempt_outside_a_transaction_is_one(store: Store) -> None:
    failing_attempt(store, "a")
    with store.savepoint():
        store.put("kind", "b", b"kept")

    assert (store.get("kind", "a"), store.get("kind", "b")) == (None, b"kept")


def folder_holds(store: Store, words: bytes) -> bool:
    return any(words in file.read_bytes() for file in store.folder.iterdir())


def deleted_value(store: Store) -> bytes:
    """Store a value and delete it; returns its sealed form."""
    store.put("sessions", "x", b"chain key of this morning")
    place = store.cipher.row_name("sessions", "x")
    sealed: bytes = store.execute("SELECT sealed FROM value WHERE name = ?", place)[0][0]
    store.put("sessions", "x", None)
    return sealed


@pytest.mark.parametrize("erase", [Store.truncate_wal, lambda store: store.delete_expired(1)])
def test_what_was_deleted_is_in_no_file_after_a_scrub(store: Store, erase: Callable[[Store], None]) -> None:
    sealed = deleted_value(store)
    assert folder_holds(store, sealed)

    erase(store)

    assert not folder_holds(store, sealed)
    assert (store.folder / "vyry.db-wal").stat().st_size == 0


def test_a_scrub_inside_a_transaction_happens_after_it(store: Store) -> None:
    with store.transaction():
        store.put("kind", "a", b"kept")
        with store.transaction(), store.savepoint():
            sealed = deleted_value(store)
            store.truncate_wal()

    assert not folder_holds(store, sealed)
    assert store.get("kind", "a") == b"kept"


def test_a_scrub_that_a_reader_bars_is_made_up_for_by_a_later_transaction(store: Store) -> None:
    sealed = deleted_value(store)
    with closing(sqlite3.connect(store.folder / "vyry.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM value").fetchall()
        store.delete_expired(1)
        assert folder_holds(store, sealed)

    store.put("kind", "a", b"kept")

    assert not folder_holds(store, sealed)


def test_what_was_deleted_is_in_no_file_after_closing(tmp_path: Path) -> None:
    with Store(tmp_path / "vyry.db", bytes(32)) as store, closing(sqlite3.connect(tmp_path / "vyry.db")) as reader:
        reader.execute("SELECT count(*) FROM value").fetchall()
        sealed = deleted_value(store)
        store.close()
        # The reader keeps the log from being deleted.
        assert (tmp_path / "vyry.db-wal").exists()
        assert not folder_holds(store, sealed)


TOLD = Lost(seq=1, through_seq=1, reason="cap", count=1)


def text(conversation_id: UUID, words: str) -> Message:
    return Message(conversation_id=conversation_id, sender_id=uuid4(), sender_device_id=1, id=uuid4(), at=1, text=words)


def change(folder: Path, *statements: str) -> None:
    """Change the file as any other program could."""
    with closing(sqlite3.connect(folder / "vyry.db", isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE value SET sealed = (SELECT sealed FROM old.value WHERE kind = 'sessions') WHERE kind = 'sessions'",
        "DELETE FROM value WHERE kind = 'verified'",
        "INSERT INTO value SELECT * FROM old.value WHERE kind = 'identity'",
        "UPDATE value SET until = 1 WHERE kind = 'sessions'",
        "UPDATE proof SET sum = (SELECT sum FROM old.proof)",
        "DELETE FROM proof",
        "UPDATE event SET is_taken = 1 WHERE id = 2",
        "UPDATE event SET is_taken = 0 WHERE id = 1",
        "UPDATE event SET ends_at = NULL WHERE id = 1",
        "DELETE FROM event WHERE id = 2",
        "INSERT INTO event SELECT * FROM old.event WHERE id = 3",
        "CREATE TRIGGER t AFTER INSERT ON value BEGIN DELETE FROM event; END",
    ],
)
def test_single_rows_put_back_added_or_removed_are_noticed_at_opening(tmp_path: Path, statement: str) -> None:
    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        journal = Journal(store)
        store.put("sessions", "x", b"used")
        store.put("identity", "bo", b"the old key")
        journal.set_expiry(journal.add(text(uuid4(), "for a while"), is_handled=True), 5)
        journal.add(TOLD), journal.add(TOLD)
    shutil.copy(tmp_path / "vyry.db", tmp_path / "old.db")
    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        store.put("sessions", "x", b"used again")
        store.put("verified", "bo", b"yes")
        store.put("identity", "bo", None)
        Journal(store).mark_handled(3)
    change(tmp_path, f"ATTACH '{tmp_path / 'old.db'}' AS old", statement)

    with pytest.raises(StoreFailed, match="changed by something else"):
        Store(tmp_path / "vyry.db", bytes(32))


def test_a_store_opens_after_everything_that_its_owner_can_do_to_it(tmp_path: Path) -> None:
    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        journal = Journal(store)
        with store.transaction():
            failing_attempt(store, "a")
            journal.mark_handled(journal.add(TOLD))
            journal.add(text(uuid4(), "waits"))
        with pytest.raises(BlockError), store.transaction():
            put_and_fail(store, "b")
        with pytest.raises(StoreFailed):
            # Its second row fails, and the first is rolled back with it.
            store.execute("INSERT INTO value VALUES ('kind', x'00', NULL, x'00'), ('kind', x'00', NULL, x'00')")
        store.put("kind", "c", b"1", until=1)
        store.put("kind", "c", b"2", until=DAY_MS)
        store.put("said", "d", b"3")
        journal.set_expiry(2, 7)
        store.execute("DELETE FROM value WHERE kind IN ('none')")
        store.delete_expired(5 * DAY_MS)
        store.execute("UPDATE event SET ends_at = 9 WHERE id = 2")

    with Store(tmp_path / "vyry.db", bytes(32)) as store:
        assert (store.get("kind", "c"), store.get("said", "d"), Journal(store).next_event()) == (None, b"3", None)


def test_a_transaction_that_sqlite_undid_itself_takes_nothing_more_in(store: Store) -> None:
    def go_on() -> None:
        store.put("kind", "a", b"inside")
        store.execute("ROLLBACK")
        store.put("kind", "b", b"after")

    with pytest.raises(StoreFailed, match="start it again"), store.transaction():
        go_on()

    store.put("kind", "c", b"kept")
    assert [store.get("kind", name) for name in "abc"] == [None, None, b"kept"]


def test_an_event_opens_in_its_own_row_and_conversation_alone(store: Store) -> None:
    here, there, journal = uuid4(), uuid4(), Journal(store)
    first, second = journal.add(text(here, "yes")), journal.add(text(there, "no"))
    assert (first, second) == (1, 2)

    store.execute("UPDATE event SET place = (SELECT place FROM event WHERE id = 2) WHERE id = 1")
    with pytest.raises(StoreLocked):
        journal.history(there, 9)
    store.execute("UPDATE event SET sealed = (SELECT sealed FROM event WHERE id = 2)")
    with pytest.raises(StoreLocked):
        journal.next_event()


def test_a_number_of_the_journal_is_never_given_again(store: Store) -> None:
    journal = Journal(store)
    for number in (1, 2, 3):
        assert journal.add(TOLD) == number
        journal.mark_handled(number)


def test_names_values_and_rows_are_kept_under_keys_of_their_own(store: Store) -> None:
    sealed, place = store.cipher.seal(b"value", b"place"), store.cipher.row_name("kind", "name")

    assert place != hmac.digest(bytes(32), b"kind\0name", "sha256")[:16]
    with pytest.raises(InvalidTag):
        AESGCM(bytes(32)).decrypt(sealed[:12], sealed[12:], b"place")
    with pytest.raises(StoreLocked, match="32 bytes"):
        Store(store.folder / "other" / "vyry.db", b"short")


def test_a_wrong_key_opens_no_store(tmp_path: Path) -> None:
    Store(tmp_path / "vyry.db", bytes(32)).close()

    with pytest.raises(StoreLocked, match="is wrong"):
        Store(tmp_path / "vyry.db", bytes([1]) * 32)


def test_a_store_that_was_closed_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "vyry.db", bytes(32))
    store.close()

    with pytest.raises(StoreFailed, match="closed"):
        store.put("kind", "name", b"value")
    with pytest.raises(StoreFailed, match="closed"), store.savepoint():
        pass
