"""Group keys of a device: keys of others never replace the one in use."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from vyry.client.crypto.group_keys import MAX_KEYS, GroupKeys, new_own_key, read_title
from vyry.client.store.pending_groups import GroupTask, GroupTasks, PendingGroups
from vyry.client.store.store import Store
from vyry.signal_protocol.blobs import BlobKind, seal_blob
from vyry.signal_protocol.primitives import Address


HERE, ANN = UUID(int=7), Address(uuid4(), 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        yield opened


def key(number: int) -> bytes:
    return number.to_bytes(32)


def sealed(number: int) -> bytes:
    return seal_blob(key(number), BlobKind.GROUP_INFO, {"title": str(number)})


def test_a_key_opens_what_was_sealed_before_and_after_the_next_one_came(store: Store) -> None:
    keys = GroupKeys(store)
    for generation in (1, 2):
        keys.accept(HERE, ANN, generation, key(generation))

    assert [keys.open_info(HERE, sealed(number))[1] for number in (1, 2, 3)] == [{"title": "1"}, {"title": "2"}, {}]


def test_a_key_in_use_stays_whoever_tells_others(store: Store) -> None:
    keys = GroupKeys(store)
    for number in range(1, MAX_KEYS):
        keys.accept(HERE, Address(uuid4(), 1), 2**53 - 1, key(number))
    keys.accept(HERE, ANN, 1, key(99))
    assert keys.open_info(HERE, sealed(99))[1]

    for number in range(100, 300):
        keys.accept(HERE, Address(uuid4(), 1), 2**53 - 1, key(number))
        keys.accept(HERE, ANN, 2 + number, key(1_000 + number))

    assert keys.open_info(HERE, sealed(99))[1] == {"title": "99"}
    assert keys.open_info(HERE, sealed(1_299))[1] == {"title": "1299"}
    assert keys.open_info(HERE, sealed(1_200))[1] == {}


def test_own_keys_know_whom_they_were_told(store: Store) -> None:
    keys, bo, cy = GroupKeys(store), uuid4(), uuid4()
    made = new_own_key(1, key(1))
    keys.save_own(HERE, made)
    keys.accept(HERE, ANN, 5, key(5))
    told = GroupKeys(store).newest_own(HERE)
    assert told == made

    keys.schedule_check(uuid4())
    assert GroupTasks(store).pending() == []
    keys.schedule_check(HERE)
    assert GroupTasks(store).pending() == [GroupTask(HERE)]

    dues = GroupTasks(store)
    dues.complete(GroupTask(HERE))
    keys.save_own(HERE, replace(made, told=(bo, cy)))
    keys.remove_recipient(uuid4())
    assert dues.pending() == []
    keys.remove_recipient(bo)
    assert keys.newest_own(HERE) == replace(made, told=(cy,))
    assert dues.pending() == [GroupTask(HERE)]


def test_what_is_due_is_done_once_and_nothing_that_comes_meanwhile_is_lost(store: Store) -> None:
    dues, bo, cy = GroupTasks(store), uuid4(), uuid4()
    dues.add(GroupTask(HERE, (bo,)))
    dues.add(GroupTask(HERE, (cy, bo), is_rotating=True))
    (seen,) = dues.pending()
    assert seen == GroupTask(HERE, (bo, cy), is_rotating=True)

    more = uuid4()
    dues.add(GroupTask(HERE, (more,)))
    dues.complete(seen)
    assert dues.pending() == [GroupTask(HERE, (bo, cy, more), is_rotating=True)]
    dues.complete(dues.pending()[0])
    assert dues.pending() == []


def test_the_same_wish_for_a_group_is_known_again_whatever_the_order(store: Store) -> None:
    beginnings, bo, cy = PendingGroups(store), uuid4(), uuid4()
    first, is_repeat = beginnings.start([bo, cy], "Walks")
    assert not is_repeat

    assert beginnings.start([cy, bo], "Walks") == (first, True)
    assert beginnings.start([cy, bo], "Runs")[1] is False
    assert beginnings.start([bo], "Walks")[1] is False
    assert beginnings.find_by_sealed(first.sealed) == first
    assert beginnings.find_by_sealed(b"another") is None
    beginnings.delete(first)
    assert beginnings.start([bo, cy], "Walks")[1] is False


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\tb\nc", "a b c"),
        ("\x1b]0;x\x07", "]0;x"),
        ("\u202egnp", "gnp"),
        ("\x00", None),
        (5, None),
        ("é 👩‍👩‍👧", "é 👩‍👩‍👧"),
    ],
)
def test_a_title_is_one_line_that_moves_nothing_on_a_screen(said: object, shown: str | None) -> None:
    assert read_title({"title": said}) == shown
