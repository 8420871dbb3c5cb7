"""The checker of histories passes a good run and catches a planted fault of each kind."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.history_checker import Acknowledgement, Attempt, ConnectionStart, Delivery, History, Outcome, check


def good_run() -> History:
    """Ann posts ten messages to two devices of Bo; both reconnect half way, having acknowledged what they had."""
    history = History()
    for number in range(1, 11):
        history.attempts.append(posted(number))
    for index, device in enumerate(("bo.1", "bo.2")):
        for connection, (after, until) in enumerate(((0, 5), (5, 10))):
            name = 10 * index + connection
            history.connections.append(ConnectionStart(device=device, connection=name, after=after, at=100.0 + after))
            for seq in range(after + 1, until + 1):
                history.deliveries.append(delivered(device, name, seq))
            history.acknowledgements.append(
                Acknowledgement(device=device, connection=name, seq=until, at=100.9 + until - 1)
            )
    history.deliveries.sort(key=lambda entry: entry.at)
    return history


def posted(number: int) -> Attempt:
    return Attempt(
        sender="ann.1",
        message_id=f"m{number}",
        body=f"b{number}",
        target_devices=frozenset({"bo.1", "bo.2"}),
        started_at=float(number),
        ended_at=number + 0.5,
        outcome=Outcome.OK,
        answer=(f"at {number}", 2),
    )


def delivered(device: str, connection: int, seq: int) -> Delivery:
    return Delivery(
        device=device,
        connection=connection,
        seq=seq,
        through=seq,
        at=100.0 + seq - 0.5,
        envelope_id=f"{device}/{seq}",
        message_id=f"m{seq}",
        sender="ann.1",
        body=f"b{seq}",
    )


def find(history: History, device: str, seq: int) -> int:
    return next(i for i, entry in enumerate(history.deliveries) if (entry.device, entry.seq) == (device, seq))


def lose_the_last(history: History) -> None:
    del history.deliveries[find(history, "bo.1", 10)], history.deliveries[find(history, "bo.2", 10)]


def skip_a_number(history: History) -> None:
    del history.deliveries[find(history, "bo.1", 7)]


def invent(history: History) -> None:
    history.deliveries[find(history, "bo.1", 10)] = replace(delivered("bo.1", 1, 10), message_id="m99")


def deliver_the_refused(history: History) -> None:
    history.attempts[9] = replace(history.attempts[9], outcome=Outcome.REFUSED, answer=None)


def change_a_body(history: History) -> None:
    history.deliveries[find(history, "bo.2", 3)] = replace(delivered("bo.2", 10, 3), body="b4")


def renumber(history: History) -> None:
    history.deliveries.append(
        replace(delivered("bo.1", 1, 11), envelope_id="bo.1/4", message_id="m4", body="b4", at=200)
    )


def show_another_envelope(history: History) -> None:
    history.connections.append(ConnectionStart(device="bo.1", connection=7, after=9, at=105.0))
    history.deliveries.append(replace(delivered("bo.1", 7, 10), envelope_id="other", at=105.1))


def store_twice(history: History) -> None:
    history.deliveries.append(replace(delivered("bo.1", 1, 11), message_id="m10", body="b10", at=200))


def swap(history: History) -> None:
    for seq, other in ((8, 9), (9, 8)):
        where = find(history, "bo.1", seq)
        entry = history.deliveries[where]
        history.deliveries[where] = replace(entry, message_id=f"m{other}", body=f"b{other}")


def reach_one_of_two(history: History) -> None:
    history.attempts[9] = replace(history.attempts[9], outcome=Outcome.UNCLEAR, answer=None)
    del history.deliveries[find(history, "bo.2", 10)]


def deliver_the_acknowledged(history: History) -> None:
    history.connections.append(ConnectionStart(device="bo.1", connection=7, after=4, at=300))
    history.deliveries.append(replace(delivered("bo.1", 7, 5), at=301))


def accept_as_new_twice(history: History) -> None:
    history.attempts.append(replace(history.attempts[0], started_at=50, ended_at=51))


def answer_otherwise(history: History) -> None:
    history.attempts.append(
        replace(history.attempts[0], started_at=50, ended_at=51, is_repeat=True, answer=("at 50", 2))
    )


def accept_another_body(history: History) -> None:
    history.attempts.append(replace(history.attempts[0], started_at=50, ended_at=51, is_repeat=True, body="b2"))


FAULTS: dict[Callable[[History], None], str] = {
    lose_the_last: "L1",
    invent: "L2",
    deliver_the_refused: "L2",
    change_a_body: "L2",
    renumber: "L3",
    show_another_envelope: "L3",
    skip_a_number: "L4",
    store_twice: "L5",
    swap: "L6",
    reach_one_of_two: "L7",
    deliver_the_acknowledged: "L9",
    accept_as_new_twice: "L11",
    answer_otherwise: "L11",
    accept_another_body: "L11",
}


def test_a_good_run_passes() -> None:
    assert check(good_run()) == []


def test_an_unclear_post_may_arrive_or_not() -> None:
    history = good_run()
    history.attempts[9] = replace(history.attempts[9], outcome=Outcome.UNCLEAR, answer=None)
    arrived = check(history)
    lose_the_last(history)

    assert (arrived, check(history)) == ([], [])


def test_a_tombstone_accounts_for_what_it_counts() -> None:
    history = good_run()
    for device, connection in (("bo.1", 1), ("bo.2", 11)):
        lost = Delivery(device=device, connection=connection, seq=10, through=10, at=109.5)
        history.deliveries[find(history, device, 10)] = lost

    assert check(history) == []


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_caught(plant: Callable[[History], None]) -> None:
    history = good_run()

    plant(history)

    assert {violation.split()[0] for violation in check(history)} >= {FAULTS[plant]}
