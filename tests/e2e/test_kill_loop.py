"""Two devices of the SDK and a node, killed again and again while they talk: a short run of scripts.kill_loop."""

import random
from pathlib import Path

import pytest

from scripts.kill_loop import run


@pytest.mark.timeout(150)
async def test_whoever_is_killed_nothing_is_lost_doubled_or_out_of_order(tmp_path: Path) -> None:
    told: list[str] = []

    assert await run(tmp_path, 12, random.randrange(2**32), told.append) == []

    assert told[0].startswith("12 kills: ann ")
