"""bench/RESULTS.md as sections: each measurement writes its own and leaves the others as they are."""

import re


def replace_section(page: str, section: str) -> str:
    """The page with this section (it begins with its heading) in the place of the one before, or at the end."""
    heading = section.splitlines()[0]
    before = re.split(rf"^{re.escape(heading)}$.*?(?=^## |\Z)", page, maxsplit=1, flags=re.MULTILINE | re.DOTALL)
    if len(before) == 1:
        return f"{page.rstrip()}\n\n{section}"
    return f"{before[0]}{section}{before[1] and chr(10)}{before[1]}"


def find_section(page: str, heading: str) -> str:
    """The section as a page has it; nothing if it has none."""
    found = re.search(rf"^{re.escape(heading)}$.*?(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL)
    return found[0].rstrip() + "\n" if found else ""
