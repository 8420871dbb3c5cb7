"""docs/glossary.md: at most 50 terms, each defined once, and the old names that must not come back."""

import re
import subprocess
from functools import cache
from pathlib import Path


ROOT = Path(__file__).parents[3]
GLOSSARY = ROOT / "docs" / "glossary.md"
TERMS = re.findall(r"^- \*\*([^*]+)\*\*: \S", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
BANNED = re.findall(r"^- `(\w+)`$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
#: They name what was: the glossary itself, and what happened to earlier versions.
EXEMPT = ("docs/glossary.md", "CHANGELOG.md", "changes/")


@cache
def texts() -> dict[str, str]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in listed
        if not name.startswith(EXEMPT) and (ROOT / name).is_file()
    }


def test_each_term_is_defined_once() -> None:
    assert 30 <= len(TERMS) <= 50
    assert len(set(TERMS)) == len(TERMS)


def test_there_are_words_to_look_for() -> None:
    assert len(BANNED) >= 40


def test_no_name_that_was_given_up_comes_back() -> None:
    found = {name: words for name, text in texts().items() if (words := set(re.findall(r"[\w-]+", text)) & set(BANNED))}

    assert found == {}
