"""Keys of titles as a device holds them: what others tell never takes the place of what is in use."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from vyry.client.group_begun import Beginnings
from vyry.client.group_due import Due, Dues
from vyry.client.group_keys import MAX_KEYS, GroupKeys, own_key, title_in
from vyry.client.store import Store
from vyry.signal_protocol.blobs import Blob, seal_blob
from vyry.signal_protocol.primitives import Address


HERE, ANN = UUID(int=7), Address(uuid4(), 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        yield opened


def key(number: int) -> bytes:
    return number.to_bytes(32)


def sealed(number: int) -> bytes:
    return seal_blob(key(number), Blob.GROUP_INFO, {"title": str(number)})


def test_a_key_opens_what_was_sealed_before_and_after_the_next_one_came(store: Store) -> None:
    keys = GroupKeys(store)
    for generation in (1, 2):
        keys.accept(HERE, ANN, generation, key(generation))

    assert [keys.opened(HERE, sealed(number))[1] for number in (1, 2, 3)] == [{"title": "1"}, {"title": "2"}, {}]


def test_a_key_in_use_stays_whoever_tells_others(store: Store) -> None:
    keys = GroupKeys(store)
    for number in range(1, MAX_KEYS):
        keys.accept(HERE, Address(uuid4(), 1), 2**53 - 1, key(number))
    keys.accept(HERE, ANN, 1, key(99))
    assert keys.opened(HERE, sealed(99))[1]

    for number in range(100, 300):
        keys.accept(HERE, Address(uuid4(), 1), 2**53 - 1, key(number))
        keys.accept(HERE, ANN, 2 + number, key(1_000 + number))

    assert keys.opened(HERE, sealed(99))[1] == {"title": "99"}
    assert keys.opened(HERE, sealed(1_299))[1] == {"title": "1299"}
    assert keys.opened(HERE, sealed(1_200))[1] == {}


def test_own_keys_know_whom_they_were_told(store: Store) -> None:
    keys, bo, cy = GroupKeys(store), uuid4(), uuid4()
    made = own_key(1, key(1))
    keys.keep_own(HERE, made)
    keys.accept(HERE, ANN, 5, key(5))
    told = GroupKeys(store).own(HERE)
    assert told == made

    keys.note_change(uuid4())
    assert Dues(store).due() == []
    keys.note_change(HERE)
    assert Dues(store).due() == [Due(HERE)]

    dues = Dues(store)
    dues.done(Due(HERE))
    keys.keep_own(HERE, replace(made, told=(bo, cy)))
    keys.untell(uuid4())
    assert dues.due() == []
    keys.untell(bo)
    assert keys.own(HERE) == replace(made, told=(cy,))
    assert dues.due() == [Due(HERE)]


def test_what_is_due_is_done_once_and_nothing_that_comes_meanwhile_is_lost(store: Store) -> None:
    dues, bo, cy = Dues(store), uuid4(), uuid4()
    dues.note(Due(HERE, (bo,)))
    dues.note(Due(HERE, (cy, bo), is_rotating=True))
    (seen,) = dues.due()
    assert seen == Due(HERE, (bo, cy), is_rotating=True)

    more = uuid4()
    dues.note(Due(HERE, (more,)))
    dues.done(seen)
    assert dues.due() == [Due(HERE, (bo, cy, more), is_rotating=True)]
    dues.done(dues.due()[0])
    assert dues.due() == []


def test_the_same_wish_for_a_group_is_known_again_whatever_the_order(store: Store) -> None:
    beginnings, bo, cy = Beginnings(store), uuid4(), uuid4()
    first, is_repeat = beginnings.begin([bo, cy], "Walks")
    assert not is_repeat

    assert beginnings.begin([cy, bo], "Walks") == (first, True)
    assert beginnings.begin([cy, bo], "Runs")[1] is False
    assert beginnings.begin([bo], "Walks")[1] is False
    assert beginnings.found(first.sealed) == first
    assert beginnings.found(b"another") is None
    beginnings.drop(first)
    assert beginnings.begin([bo, cy], "Walks")[1] is False


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
    assert title_in({"title": said}) == shown
