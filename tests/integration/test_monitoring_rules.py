"""Prometheus accepts the files in ops/, and each alert fires when it should."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT


OPS = ROOT / "ops"


def expressions() -> Iterator[str]:
    """What the board asks Prometheus for."""
    for panel in json.loads((OPS / "grafana.json").read_text(encoding="utf-8"))["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: run scripts/install-services"
    done = subprocess.run([program, *arguments], cwd=OPS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_the_configuration_and_every_expression_of_the_board(tmp_path: Path) -> None:
    rules = [{"record": f"board_{number}", "expr": text} for number, text in enumerate(expressions())]
    written = tmp_path / "board.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))

    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", str(written))


@pytest.mark.timeout(180)
def test_each_alert_fires_when_it_should_and_is_quiet_otherwise() -> None:
    promtool("test", "rules", "alerts_test.yml")
