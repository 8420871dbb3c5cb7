"""How long mailboxes gather before the next work records."""

import pytest

from vyry.kafka.work_topic import TICK_SECONDS, pause_seconds


def test_a_turn_without_mailboxes_holds_up_nothing() -> None:
    assert pause_seconds(0) == 0


def test_a_single_mailbox_holds_up_the_next_one_for_a_tenth_of_a_tick() -> None:
    assert pause_seconds(1) == pytest.approx(TICK_SECONDS / 10)


@pytest.mark.parametrize("mailboxes", [10, 4_096])
def test_under_load_mailboxes_gather_for_a_tick(mailboxes: int) -> None:
    assert pause_seconds(mailboxes) == TICK_SECONDS
