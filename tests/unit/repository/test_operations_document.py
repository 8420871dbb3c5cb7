"""docs/operations.md tells of the commands and metrics there are, and of no others."""

import re

from tests.support.paths import ROOT
from vyry.cli.main import app
from vyry.telemetry import VERBS, render_metrics


TEXT = (ROOT / "docs/operations.md").read_text()


def test_every_metric_is_told_and_every_metric_told_exists() -> None:
    endings = {f"vyry_{verb}{ending}" for verb in VERBS for ending in ("_failures_total", "_seconds")}
    families = re.findall(r"^# TYPE (vyry_\w+) ", render_metrics().decode(), re.MULTILINE)

    assert set(re.findall(r"vyry_[a-z]\w+", TEXT)) | endings == set(families)


def test_every_command_that_serves_or_changes_something_is_told() -> None:
    told = set(re.findall(r"`vyry ([a-z][\w-]+)", TEXT))

    assert told == {name for name in app if name[0].isalpha()} - {
        "openapi",
        "asyncapi",
        "version",
        "client",
        "completion",
    }
