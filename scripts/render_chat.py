"""Draws docs/chat.svg: records `vyry demo` in a terminal, with one line typed. Run `python -m scripts.render_chat` when the texts of the command change."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Final


TARGET: Final = Path(__file__).parents[1] / "docs" / "chat.svg"
#: What is typed, each line after the output that comes before it.
TYPED: Final = {"You are Ann now": "See you at eight at the station.\n", "I got that.": "\n"}
#: In pixels, but the columns: a character of a 12 px monospace font is 7.2 wide.
WIDTH, COLUMNS, LINE, TOP, LEFT = 876, 116, 20, 56, 20
TIME: Final = re.compile(r"\(\w+.read.it.after.\d+.ms\)")
FONT: Final = "font:12px ui-monospace,Menlo,Consolas,monospace;fill:#e6edf3"
STYLE: Final = f"text{{{FONT}}}.dim{{fill:#8b949e}}.Ann{{fill:#7ee787}}.Bo{{fill:#79c0ff}}"


def recorded() -> Iterator[str]:
    """The lines of the terminal, typed ones included, folded to the width of the picture."""
    ours, theirs = os.openpty()
    shown, typed = "$ vyry demo\n", dict(TYPED)
    with subprocess.Popen([sys.executable, "-m", "vyry.cli.main", "demo"], stdin=theirs, stdout=theirs):
        os.close(theirs)
        with suppress(OSError):  # The terminal of a process that has ended cannot be read.
            while True:
                shown += os.read(ours, 4_096).decode().replace("\r", "")
                if typed and next(iter(typed)) in shown and shown.endswith("\n"):
                    os.write(ours, typed.pop(next(iter(typed))).encode())
    for line in shown.rstrip().splitlines():
        whole = TIME.sub(lambda time: time[0].replace(" ", "\u00a0"), line)
        yield from textwrap.wrap(whole, COLUMNS, subsequent_indent=" " * 8)


def styled(line: str) -> str:
    """A line as SVG: speakers in color; times and reports of the command in grey."""
    if not line.startswith(("$", " ")) and f"{line}\n" not in TYPED.values():
        return f'<tspan class="dim">{escape(line)}</tspan>'
    spoken = re.sub(r"^( *)(Ann|Bo) \|", r'\1<tspan class="\2">\2 |</tspan>', escape(line))
    return TIME.sub(r'<tspan class="dim">\g<0></tspan>', spoken)


if __name__ == "__main__":
    rows = [f'<text x="{LEFT}" y="{TOP + n * LINE}">{styled(line)}</text>' for n, line in enumerate(recorded())]
    size = f'width="{WIDTH}" height="{TOP + len(rows) * LINE}"'
    dots = [f'<circle cx="{20 + 20 * n}" cy="20" r="6" fill="{c}"/>' for n, c in enumerate(("#f55", "#fb2", "#2c4"))]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" {size} role="img" aria-label="Ann and Bo chat: vyry demo">'
    body = [f"{head}<style>{STYLE}</style>", f'<rect {size} rx="10" fill="#0d1117"/>', *dots, *rows, "</svg>\n"]
    TARGET.write_text("\n".join(body), encoding="utf-8")
