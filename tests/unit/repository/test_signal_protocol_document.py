"""docs/signal-protocol.md and the code name the same refusals, labels and limits."""

import re

from tests.support.paths import ROOT
from vyry.signal_protocol import ratchet, refusals, sender_keys, sessions
from vyry.signal_protocol.refusals import Refusal


DOCUMENT = (ROOT / "docs" / "signal-protocol.md").read_text()
CODE = "\n".join(path.read_text() for path in sorted((ROOT / "vyry" / "signal_protocol").glob("*.py")))


def section(number: int) -> str:
    return DOCUMENT.split(f"\n## {number}. ")[1].split("\n## ")[0]


def test_every_refusal_is_told_and_made() -> None:
    told = {
        name
        for row in section(15).splitlines()
        if row.startswith("| ")
        for name in re.findall(r"[A-Z][A-Za-z]+", row.split("|")[1])
    }
    made = {name for name, each in vars(refusals).items() if isinstance(each, type) and issubclass(each, Refusal)}

    assert told == made - {"Refusal"}
    assert {refused().name for refused in Refusal.__subclasses__()} == told


def test_every_label_is_told_and_used() -> None:
    listed = DOCUMENT.split("Every label of this page: ")[1].split("\n\n")[0]
    labels = set(re.findall(r"`([a-z0-9 -]+)`", listed))

    unused = {words for words in labels if f'"{words}"' not in CODE}
    assert len(labels) == 16
    assert unused == set()
    assert not any(one != other and f"{one}\0".startswith(f"{other}\0") for one in labels for other in labels)


def test_the_limits_are_those_of_the_document() -> None:
    assert f"**{ratchet.MAX_JUMP:,}**" in section(5)
    assert f"**{ratchet.MAX_KEPT:,}** stored keys" in section(5)
    assert f"last **{ratchet.MAX_EARLIER}** earlier keys" in section(5)
    assert f"up to **{sessions.MAX_ARCHIVED} archived**" in section(7)
    assert f"{sender_keys.MAX_GENERATIONS} generations" in section(8)
    assert f"{sender_keys.GENERATION_MESSAGES:,} messages" in section(8)
