"""The offer of a history: only a device that was promised one takes it, from an own device, in the account's conversation with itself, and once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.client_inbox import NOW, open_inbox
from tests.unit.vyry.client.test_identity_pins import SiblingDevice
from vyry.client.store.events import Attachment
from vyry.client.store.history_transfer import CLAIM_MS, AwaitedHistory, HistoryOffer, HistoryTransfers
from vyry.client.store.store import Store
from vyry.kernel.base64_text import encode_base64
from vyry.signal_protocol.refusals import BadContent, IdentityForged


ARCHIVE = Attachment(uuid4(), bytes(range(32)), bytes(32), 1_000, "application/octet-stream")
KEY = bytes(reversed(range(32)))
SAID = {"history": {"attachment": ARCHIVE.as_json(), "key": encode_base64(KEY)}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_inbox(tmp_path) as opened:
        yield opened.store


def awaiting(store: Store, until: int = NOW + 1) -> HistoryTransfers:
    transfers = HistoryTransfers(store)
    transfers.await_until(until)
    return transfers


def test_the_archive_of_an_own_device_is_taken_once(store: Store) -> None:
    transfers = awaiting(store)
    SiblingDevice(store).sync(SAID)
    other = {**SAID["history"], "attachment": {**ARCHIVE.as_json(), "attachmentId": str(uuid4())}}
    SiblingDevice(store).sync({"history": other})

    assert transfers.awaited(NOW) == AwaitedHistory(NOW + 1, ARCHIVE, KEY)
    assert transfers.awaited(NOW + CLAIM_MS) is not None


@pytest.mark.parametrize("until", [None, NOW - 1])
def test_an_archive_that_is_not_awaited_is_ignored(store: Store, until: int | None) -> None:
    transfers = HistoryTransfers(store) if until is None else awaiting(store, until)
    SiblingDevice(store).sync(SAID)

    assert transfers.awaited(NOW) is None


def test_an_archive_from_elsewhere_is_refused(store: Store) -> None:
    transfers = awaiting(store)
    with pytest.raises(IdentityForged):
        SiblingDevice(store, is_listed=False).sync(SAID)
    with pytest.raises(BadContent):
        SiblingDevice(store).sync(SAID, uuid4())

    assert transfers.awaited(NOW) == AwaitedHistory(NOW + 1)


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"key": encode_base64(KEY)},
        {**SAID["history"], "more": 1},
        {**SAID["history"], "key": encode_base64(KEY[1:])},
        {**SAID["history"], "attachment": {**ARCHIVE.as_json(), "fileName": "a"}},
        {**SAID["history"], "attachment": {**ARCHIVE.as_json(), "size": -1}},
    ],
)
def test_the_schema_of_an_offer_is_closed(store: Store, said: Any) -> None:
    transfers = awaiting(store)
    with pytest.raises(BadContent):
        SiblingDevice(store).sync({"history": said})

    assert transfers.awaited(NOW) == AwaitedHistory(NOW + 1)


def test_an_offer_that_no_device_claims_in_time_ends(store: Store) -> None:
    transfers = HistoryTransfers(store)
    transfers.save_offer(HistoryOffer(KEY, ((1, bytes(32)),), NOW + CLAIM_MS))

    assert transfers.offer(NOW + CLAIM_MS) is not None
    assert transfers.offer(NOW + CLAIM_MS + 1) is None
