"""Each mistake planted into the client is noticed by its test: a whole run of scripts.mutation_test."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.timeout(600)
def test_every_planted_mistake_is_found_by_its_test() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.mutation_test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT FOUND" not in done.stdout
