"""The verdict of the kill loop sees what is lost, doubled, out of order, from nowhere or odd, and excuses only what a kill excuses."""

from pathlib import Path

import pytest

from scripts.kill_journal import Journal, Line, find_faults, read, read_numbers


BEGAN: Line = {"began": True}


def said(*numbers: int) -> list[Line]:
    return [line for number in numbers for line in ({"intended": number}, {"kept": number})]


def came(*numbers: int) -> list[Line]:
    return [BEGAN, *({"read": number} for number in numbers)]


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (said(1, 2, 3), came(1, 2, 3)),
        ([*said(1), {"intended": 2}], came(1)),
        ([*said(1), {"intended": 2}], came(1, 2)),
        (said(1, 2), [*came(1), *came(1, 2)]),
        (said(1, 2), [*came(1), BEGAN, *came(1, 2)]),
    ],
    ids=["all", "killed before it was kept", "killed before it was noted", "repeated after a kill", "killed twice"],
)
def test_a_whole_conversation_is_without_fault(writer: list[Line], reader: list[Line]) -> None:
    assert list(find_faults(writer, reader)) == []


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        (came(1, 3), "lost: 2"),
        (came(1, 2, 2, 3), "doubled: 2"),
        ([*came(1, 2, 3), *came(2)], "doubled: 2"),
        ([*came(1, 2, 3), *came(3, 3)], "doubled: 3"),
        (came(1, 3, 2), "out of order: 2 after 3"),
        (came(1, 2, 3, 9), "from nowhere: 9"),
        ([*came(1, 2, 3), {"odd": "lost {}"}], "odd: lost {}"),
    ],
)
def test_what_is_wrong_is_named(reader: list[Line], fault: str) -> None:
    assert fault in list(find_faults(said(1, 2, 3), reader))


def test_a_journal_goes_on_where_the_last_process_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ann.jsonl"
    assert read(path) == []
    for number in (1, 2):
        journal = Journal(path)
        journal.write_line(began=True)
        journal.write_line(read=number)
        journal.write_line(read=number + 1)

    assert read_numbers(read(path)) == [1, 2, 3]
    assert capsys.readouterr().out == "at work\n" * 2
