"""Markdown tables and the figures in their cells."""

import statistics
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with this head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(figures: Sequence[float], digits: int = 2) -> str:
    """Median, and the lowest and highest round."""
    if not figures:
        return "-"
    low, middle, high = (f"{each:,.{digits}f}" for each in (min(figures), statistics.median(figures), max(figures)))
    return f"{middle} ({low} to {high})"
