"""The lateness of the move loop: counted from the commit to a device that is connected, under the event that caused it, without the load's own pauses."""

from hashlib import sha256

import pytest

from scripts.move_lateness import Lateness, Stations, Timeline, late_lines, measure, table
from scripts.move_load import Records
from tests.support.history_checker import Attempt, Delivery, Outcome


QUIET_UNTIL_10 = Timeline([(0, "quiet"), (10, "a worker is killed"), (20, "quiet")])


def records(delivered: float, *, connected: float = 0.0, pauses: list[tuple[float, float]] | None = None) -> Records:
    """One envelope for `bo`, who is connected since then."""
    found = Records(sockets={"bo": [(connected, float("inf"))]}, pauses=pauses or [])
    body = sha256(b"").hexdigest()
    attempt = Attempt(
        sender="ann", message_id="m", body=body, target_devices=frozenset({"bo"}), started_at=0, ended_at=1, outcome=Outcome.OK
    )  # fmt: skip
    found.history.attempts.append(attempt)
    for at in (delivered, delivered + 5):
        found.history.deliveries.append(Delivery(device="bo", connection=1, seq=1, through=1, at=at, message_id="m"))
    return found


def lateness(found: Records, committed: float, deposited: float) -> Lateness:
    (only,) = measure(found, {"m": Stations(committed, deposited, "worker-1")}, QUIET_UNTIL_10)
    return only


def test_lateness_runs_from_the_commit_to_the_first_delivery() -> None:
    found = lateness(records(12.0), committed=11.0, deposited=11.75)

    assert (found.kind, found.seconds, found.deposit_seconds, found.offset) == ("a worker is killed", 1.0, 0.75, 1.0)


def test_a_device_that_was_away_counts_from_its_return() -> None:
    assert lateness(records(12.5, connected=12.25), committed=11.0, deposited=11.1).seconds == 0.25


def test_what_an_event_caught_under_way_counts_for_the_event() -> None:
    assert lateness(records(10.5), committed=9.5, deposited=10.4).kind == "a worker is killed"
    assert lateness(records(9.75), committed=9.5, deposited=9.6).kind == "quiet"


@pytest.mark.parametrize(("pauses", "is_late"), [([], True), ([(12.2, 0.5)], False), ([(10.9, 0.5)], True)])
def test_a_pause_of_the_load_is_no_lateness_of_the_node(pauses: list[tuple[float, float]], is_late: bool) -> None:
    assert lateness(records(12.25, pauses=pauses), committed=11.0, deposited=11.5).is_late is is_late


def test_the_table_has_a_row_for_each_kind_and_the_late_ones_name_their_station() -> None:
    some = [
        lateness(records(at), committed=begin, deposited=at - 0.25)
        for begin, at in ((1.0, 1.5), (11.0, 11.5), (11.0, 12.5))
    ]

    rows, late = list(table(some, {"quiet": 2, "a worker is killed": 1})), list(late_lines(some))

    assert rows[2:] == [
        "| quiet | 2 | 1 | 0.50 s | 0.50 s | 0.50 s | 0.25 s | 0 |",
        "| a worker is killed | 1 | 2 | 0.50 s | 0.50 s | 1.50 s | 1.25 s | 1 |",
    ]
    assert len(late) == 1
    assert "1.50 s during a worker is killed (1.0 s after its begin): 1.25 s until its deposit by worker-1" in late[0]
