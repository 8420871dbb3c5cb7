"""The way of an envelope is put together from the marks of several processes."""

import pytest

from bench.stations.timeline import COMMIT, DATABASE, KERNEL, NEAR, PYTHON, QUEUE, Marks, mean_hops, split, way_of
from bench.stations.waits import sqlite_commit_share


MAILBOX, NUMBER = 7, 41


def marks_of_one_envelope() -> Marks:
    marks = Marks()
    marks.add(
        [
            ("queued", 1.0, "a"),
            ("statement", 2.0, "a"),
            ("committed", 4.0, ("a", MAILBOX, NUMBER)),
            ("deposit begins", 5.0, NUMBER),
            ("deposited", 8.0, NUMBER),
            ("flushed", 3.0, MAILBOX),
            ("flushed", 9.0, MAILBOX),
            ("delivered", 10.0, "a"),
        ]
    )
    marks.sort()
    return marks


def test_the_hops_of_an_envelope_add_up_to_its_latency() -> None:
    way = way_of("a", 0.0, NEAR, marks_of_one_envelope())

    assert way == [1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 1.0]


def test_an_envelope_without_all_marks_has_no_way() -> None:
    assert way_of("b", 0.0, NEAR, marks_of_one_envelope()) is None


def test_a_station_that_an_earlier_envelope_opened_takes_no_time() -> None:
    marks = marks_of_one_envelope()
    marks.found["flushed"][MAILBOX] = [11.0]

    way = way_of("a", 0.0, NEAR, marks)

    assert way is not None
    assert way[-2:] == [2.0, 0.0]


def test_hops_are_means_in_milliseconds() -> None:
    assert mean_hops([[0.001, 0.002], [0.003, 0.004]]) == pytest.approx([2.0, 3.0])


def test_a_statement_splits_into_its_commit_and_its_work() -> None:
    hops = [1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 1.0]

    kinds = split(hops, NEAR, {"committed": 0.5, "deposited": 1.0}, system_share=0.5)

    assert [kinds[kind] for kind in (COMMIT, QUEUE, PYTHON, DATABASE, KERNEL)] == [4.0, 2.0, 1.5, 1.0, 1.5]


def test_the_share_of_the_commits_is_that_of_the_thread_that_writes() -> None:
    marks = Marks()
    for start in (0.0, 10.0):
        marks.add([("batch begins", start, 1), ("commit begins", start + 1.0, 1), ("batch ends", start + 4.0, 1)])
    marks.add([("batch begins", 2.0, 2), ("batch ends", 9.0, 2)])
    marks.sort()

    assert sqlite_commit_share(marks, 0.0, 20.0) == pytest.approx(0.75)
