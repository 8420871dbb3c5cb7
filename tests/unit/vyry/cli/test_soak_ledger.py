"""The ledger of a soak run: whatever goes wrong with a message is counted, and what goes right is no fault."""

from uuid import UUID, uuid4

import pytest

from vyry.cli.delivery_stats import DeliveryStats, SentMessage


ANN, BO, CHAT = uuid4(), uuid4(), uuid4()


def sent_messages(count: int) -> tuple[DeliveryStats, list[SentMessage]]:
    """So many messages of Ann's to Bo."""
    ledger = DeliveryStats()
    return ledger, [ledger.record_sent(CHAT, ANN, (ANN, BO), float(number)) for number in range(count)]


def test_what_was_heard_once_and_in_order_is_clean() -> None:
    ledger, said = sent_messages(3)
    for each in said:
        ledger.record_received(BO, each, 10.0)

    assert (ledger.is_clean(), ledger.sent, ledger.received) == (True, 3, 3)
    assert ledger.latency() == {"median": 9000.0, "p99": 10000.0}


@pytest.mark.parametrize(
    ("order", "fault"), [([0, 1, 1, 2], "doubled"), ([0, 2, 1], "disordered"), ([1, 2, 0, 0], "doubled")]
)
def test_what_comes_twice_or_late_is_told(order: list[int], fault: str) -> None:
    ledger, said = sent_messages(3)
    for place in order:
        ledger.record_received(BO, said[place], 10.0)

    assert (ledger.faults[fault], ledger.missing_count, ledger.is_clean()) == (1, 0, False)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_what_never_comes_is_lost(missing: int) -> None:
    ledger, said = sent_messages(3)
    for each in said[:missing] + said[missing + 1 :]:
        ledger.record_received(BO, each, 10.0)

    assert (ledger.missing_count, ledger.is_clean()) == (1, False)


def test_each_reader_of_a_group_has_to_hear_it() -> None:
    ledger = DeliveryStats()
    cleo: UUID = uuid4()
    said = ledger.record_sent(CHAT, ANN, (ANN, BO, cleo), 0.0)
    ledger.record_received(BO, said, 1.0)

    assert (ledger.sent, ledger.missing_count) == (2, 1)
    ledger.record_received(cleo, said, 1.0)
    assert ledger.is_clean()


def test_a_run_that_said_nothing_has_no_latency() -> None:
    assert DeliveryStats().latency() == {"median": None, "p99": None}
