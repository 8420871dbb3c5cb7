"""Random mixtures of lies and honest traffic (tests/hostile_node/random_runs.py), as many as fit into a short while; more are had by its command."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.hostile_node.random_run import Plan
from tests.hostile_node.random_runs import run_many


pytestmark = pytest.mark.timeout(180)
SEED = 1_300_000


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    """The node in this process writes no line for each request."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


async def test_honest_nodes_are_never_suspected() -> None:
    total = await run_many(SEED, 100, is_honest=True, seconds=5)

    assert total.runs
    assert not total.failed, total.summary()


async def test_no_mixture_of_lies_opens_a_text_or_passes_untold() -> None:
    total = await run_many(SEED, 1_000, seconds=15)

    assert total.lies
    assert not total.failed, total.summary()


def test_a_plan_is_drawn_from_its_seed_alone() -> None:
    plans = [Plan.draw(seed) for seed in range(200)]

    assert plans == [Plan.draw(seed) for seed in range(200)]
    assert {bool(plan.lies) for plan in plans if plan.seed % 5} == {True}
    assert {plan.lies for plan in plans if plan.seed % 5 == 0} == {()}
