"""The benchmark runs from end to end in its smallest size, so that it does not rot between releases."""

import asyncio
import sys

import pytest

from scripts.nodes import ROOT


async def measured(*options: str) -> str:
    """What the benchmark prints."""
    command = (sys.executable, "-m", "bench.run", "--quick", *options)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )

    async with asyncio.timeout(120):
        said, _ = await process.communicate()

    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.timeout(150)
async def test_the_benchmark_measures_every_variant_under_both_loads() -> None:
    said = await measured()

    for load in ("pairs", "mesh"):
        assert f"## Load `{load}`: throughput" in said
    for variant in ("floor", "embedded", "near", "far"):
        assert said.count(f"| {variant} | 10 in flight |") >= 4


@pytest.mark.timeout(150)
async def test_the_benchmark_compares_two_source_trees() -> None:
    said = await measured("--compare", str(ROOT), "--sizes", "embedded", "--loads", "mesh")

    assert "| mesh | embedded | 10 in flight |" in said


@pytest.mark.timeout(150)
async def test_the_benchmark_measures_presence() -> None:
    said = await measured("--presence")

    assert "| watched |" in said


@pytest.mark.timeout(150)
async def test_the_benchmark_measures_posts_to_groups() -> None:
    said = await measured("--group")

    for size in (1, 16, 64):
        assert f"| {size} KiB to 9 |" in said
