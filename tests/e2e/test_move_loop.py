"""Workers and brokers are killed, and a partition moves, while devices talk: a short run of scripts.move_loop."""

import asyncio
import random

import pytest

from scripts.move_loop import Plan, open_observed_cluster, run


KINDS = ["a worker is killed", "all workers are killed", "a broker is killed", "a move, its new owner is killed"]


@pytest.mark.timeout(400)
def test_whatever_is_killed_or_moved_nothing_is_lost_doubled_disordered_or_later_than_a_second() -> None:
    plan = Plan(seconds=25, seed=random.randrange(2**32), rate=100, devices=16, kinds=KINDS, haste=0.35)
    said: list[str] = []

    with open_observed_cluster(plan) as (cluster, new_worker):
        wrong = asyncio.run(run(plan, cluster, new_worker, said.append))

    assert (wrong, f"seed {plan.seed}") == ([], f"seed {plan.seed}")
    assert len(said) > 3
