"""docs/operations.md lists the commands, metrics and log events that exist, and no others."""

import re

from tests.support.paths import ROOT
from vyry.cli.main import app
from vyry.telemetry import VERBS, render_metrics


TEXT = (ROOT / "docs/operations.md").read_text()
LOG_CALL = re.compile(r'\b(?:log\.\w+|write_log)\(\s*"(\w+)"')


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


def test_the_table_of_log_events_lists_exactly_the_events_in_the_code() -> None:
    sources = [path.read_text() for folder in ("vyry", "web", "agents") for path in (ROOT / folder).rglob("*.py")]
    rows = re.findall(r"^\| (`.+?) \|", TEXT.partition("## Logs")[2], re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"slow_client_disconnected"}

    assert listed == {name for source in sources for name in LOG_CALL.findall(source)} | set(VERBS)
