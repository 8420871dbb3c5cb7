"""What `vyry partitions` prints: aligned columns, bad partitions first where the screen is short, and plans in words."""

from dataclasses import replace

from tests.support.partition_clusters import LOST, cluster, with_partition, worker
from vyry.cli.partitions_table import align, bytes_text, cluster_lines, plan_lines, summary
from vyry.mail.partitions import Cluster
from vyry.operator.partitions.model import Move, PlanKind
from vyry.operator.partitions.plans import make_plan


LATE = with_partition(cluster(["w1", "w2"] * 10), 17, oldest_seconds=3.0, mailboxes_waiting=4, bytes_waiting=2048)


def plain(found: Cluster, height: int | None = None) -> list[str]:
    return [line.plain for line in cluster_lines(found, height)]


def test_texts_are_on_the_left_and_numbers_on_the_right() -> None:
    assert align(("worker", "load"), [("w", "10.0"), ("long", "1.0")]) == [
        "worker  load",
        "w       10.0",
        "long     1.0",
    ]


def test_all_partitions_are_shown_without_a_screen() -> None:
    assert len(plain(LATE)) == 1 + 20 + 1 + 3 + 2


def test_on_a_short_screen_partitions_in_a_bad_state_come_first() -> None:
    lines = plain(LATE, height=12)

    assert len(lines) == 12
    assert lines[1].split()[:4] == ["17", "w2", "host-1", "late"]
    assert "and 16 more partitions" in lines


def test_the_summary_names_each_bad_state_and_an_incomplete_count() -> None:
    lost = cluster(["w1", "w2"], [1.0, 1.0], worker("w1"), worker("w2", heartbeat_at=LOST))

    assert "1 orphaned; 1 live workers" in summary(lost)
    assert "not all waiting mail was counted" in summary(replace(LATE, is_count_complete=False))


def test_a_pin_and_a_move_under_way_are_told_apart() -> None:
    found = with_partition(cluster(["w1", "w2"]), 0, target="w2", is_pinned=True)
    moving = with_partition(found, 1, target="w1")

    assert [line.split("  ")[-1].strip() for line in plain(moving)[1:3]] == ["w2", "moves to w1"]


def test_a_name_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in "".join(plain(cluster(["w\x1b[31m"])))


def test_a_plan_shows_moves_loads_and_how_to_apply_it() -> None:
    found = cluster(["w1", "w1", "w2"], [5.0, 1.0, 2.0])
    plan = make_plan(found, PlanKind.MOVE, (Move(0, "w1", "w2"),))

    assert plan_lines(plan, found, 3.0) == [
        "partition 0: w1 -> w2",
        "load of w1: 6.0 -> 1.0 envelopes/s",
        "load of w2: 2.0 -> 7.0 envelopes/s",
        f"About 3 s. Nothing was changed. To apply this plan: vyry partitions apply {plan.state_id}",
    ]


def test_sizes_have_the_largest_unit_that_fits() -> None:
    assert [bytes_text(size) for size in (0, 1023, 2048, 5 << 20, 3 << 30)] == [
        "0 B",
        "1023 B",
        "2 KiB",
        "5 MiB",
        "3.0 GiB",
    ]
