"""Shapes of GET /limits."""

from web.wire.shapes import WireModel


class Limit(WireModel):
    """One window of one limit: so much in so many seconds (0: at any one time), and what of it is left to the caller now."""

    name: str
    limit: int
    window_seconds: int
    remaining: int


class Limits(WireModel):
    """Every limit of the node; one with several windows stands there once for each."""

    limits: list[Limit]
