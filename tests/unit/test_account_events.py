"""The account events that are documented are those that the code knows."""

import re
from pathlib import Path
from typing import get_args

from vyry.accounts.events import EventName


ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")


def test_every_event_is_documented_and_every_documented_event_exists() -> None:
    table = TEXT.partition("### Account events")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"name"} == set(get_args(EventName))
