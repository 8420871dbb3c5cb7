"""The SDK accepts only a mailbox without gaps, and a store without half-written transactions."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support import chain_checker as chain
from vyry.client.errors import ChainBroken, StoreFailed, StoreLocked
from vyry.client.store.events import Lost
from vyry.client.store.journal import Journal
from vyry.client.store.mailbox_chain import MailboxPosition
from vyry.client.store.packing import pack, unpack
from vyry.client.store.store import Store
from vyry.kernel.base64_text import encode_base64


MAILBOX = uuid4()


def envelope(seq: int, head: bytes = b"", **more: Any) -> dict[str, Any]:
    facts = {"messageId": str(UUID(int=seq)), "conversationId": str(UUID(int=9)), "senderId": str(UUID(int=3))}
    said = {
        "senderDeviceId": 2,
        "lane": "mail",
        "kind": 1,
        "content": encode_base64(b"sealed"),
        "postedAt": "2026-01-01T00:00:00.001Z",
    }
    return {"seq": seq, "head": encode_base64(head), **facts, **said, **more}


def follow(point: MailboxPosition, entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with the hash that the protocol requires, computed by the tests' own code."""
    head = sha256(point.head + entry["seq"].to_bytes(8, "big") + chain.entry_digest(entry)).digest()
    return {**entry, "head": encode_base64(head)}


@pytest.mark.parametrize(
    "more", [{}, {"lane": "control", "kind": 255}, {"notice": {"name": "prekeysLow", "pqRemaining": 1}}]
)
def test_a_mailbox_that_follows_is_taken(more: dict[str, Any]) -> None:
    point = MailboxPosition.initial(MAILBOX)
    for seq in range(1, 4):
        point = point.advance(follow(point, envelope(seq, **more)))

    assert point.seq == 3


@pytest.mark.parametrize(
    "change",
    [
        {"content": encode_base64(b"other")},
        {"kind": 2},
        {"senderDeviceId": 3},
        {"postedAt": "2026-01-01T00:00:00.002Z"},
        {"seq": 2},
    ],
)
def test_a_mailbox_that_does_not_follow_is_broken(change: dict[str, Any]) -> None:
    point = MailboxPosition.initial(MAILBOX)

    with pytest.raises(ChainBroken):
        point.advance({**follow(point, envelope(1)), **change})


def test_a_loss_says_which_numbers_it_took() -> None:
    point = MailboxPosition.initial(MAILBOX)
    lost = {"seq": 1, "throughSeq": 4, "head": encode_base64(bytes(32)), "tombstone": {"reason": "expired", "count": 4}}

    assert point.advance(lost) == MailboxPosition(4, bytes(32))
    with pytest.raises(ChainBroken):
        point.advance({**lost, "throughSeq": 5})


def test_a_loss_of_no_numbers_is_none() -> None:
    point = MailboxPosition.initial(MAILBOX)
    lost = {"seq": 1, "throughSeq": 0, "head": encode_base64(bytes(32)), "tombstone": {"reason": "expired", "count": 0}}

    with pytest.raises(ChainBroken):
        point.advance(lost)


@dataclass(frozen=True, slots=True)
class StoredPosition:
    who: UUID
    places: dict[tuple[bytes, int], bytes]
    point: MailboxPosition | None = None


def test_states_come_back_as_they_went() -> None:
    kept = StoredPosition(uuid4(), {(b"\xff", 3): b"\x00", (b"a", 2**32 - 2): b"b"}, MailboxPosition(7, bytes(32)))

    assert unpack(StoredPosition, pack(kept)) == kept
    with pytest.raises(ValueError, match="who"):
        unpack(StoredPosition, pack(MailboxPosition(1, b"")))


def test_an_act_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", bytes(32)) as store:
        store.put("thing", "one", b"before")
        with pytest.raises(ZeroDivisionError):
            _put_and_fail(store)
        assert (store.get("thing", "one"), Journal(store).next_event()) == (b"before", None)


def _put_and_fail(store: Store) -> None:
    with store.transaction():
        store.put("thing", "one", b"after")
        Journal(store).add(Lost(seq=1, through_seq=1, reason="cap", count=1))
        raise ZeroDivisionError


def test_a_value_moved_to_another_name_does_not_open(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", bytes(32)) as store:
        store.put("thing", "one", b"1")
        store.put("thing", "two", b"2")
        store.execute("UPDATE value SET sealed = (SELECT sealed FROM value WHERE kind = 'thing' LIMIT 1)")
        with pytest.raises(StoreLocked):
            _ = [store.get("thing", name) for name in ("one", "two")]


def test_a_store_is_closed_after_the_act_that_another_thread_is_in(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db", bytes(32))
    begun, go = threading.Event(), threading.Event()

    def act() -> None:
        with store.transaction():
            begun.set()
            go.wait(10)
            store.put("thing", "one", b"kept")

    with ThreadPoolExecutor(2) as pool:
        acting = pool.submit(act)
        begun.wait(10)
        closing = pool.submit(store.close)
        go.set()
        acting.result(), closing.result()

    with Store(tmp_path / "a.db", bytes(32)) as again:
        assert again.get("thing", "one") == b"kept"
    with pytest.raises(StoreFailed):
        store.get("thing", "one")
