"""The store of a device: parts of a transaction that fail alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vyry.client.store import Store


class Wrong(Exception):
    """What a block raises."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "vyry.db", bytes(32)) as opened:
        yield opened


def put_and_fail(store: Store, name: str) -> None:
    store.put("kind", name, b"inside")
    raise Wrong


def failing_attempt(store: Store, name: str) -> None:
    with pytest.raises(Wrong), store.attempt():
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
        with store.attempt():
            store.put("kind", "a", b"inside")
        raise Wrong

    with pytest.raises(Wrong), store.transaction():
        attempt_and_fail()

    assert store.get("kind", "a") is None


def test_a_failed_attempt_inside_an_attempt_undoes_the_inner_one_alone(store: Store) -> None:
    with store.transaction(), store.attempt():
        store.put("kind", "a", b"outer")
        failing_attempt(store, "b")
        # A nested transaction is a part of the one around it.
        with store.transaction():
            store.put("kind", "c", b"nested")

    assert [store.get("kind", name) for name in "abc"] == [b"outer", None, b"nested"]


def test_a_transaction_inside_an_attempt_is_undone_with_it(store: Store) -> None:
    def nest_and_fail() -> None:
        with store.transaction():
            store.put("kind", "a", b"nested")
        raise Wrong

    with store.transaction(), pytest.raises(Wrong), store.attempt():
        nest_and_fail()

    assert store.get("kind", "a") is None


def test_an_attempt_outside_a_transaction_is_one(store: Store) -> None:
    failing_attempt(store, "a")
    with store.attempt():
        store.put("kind", "b", b"kept")

    assert (store.get("kind", "a"), store.get("kind", "b")) == (None, b"kept")
