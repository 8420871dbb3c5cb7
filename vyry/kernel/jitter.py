"""Random spread of retry times."""

import secrets


def jittered(seconds: float) -> float:
    """Between half and one and a half times these seconds: clients that lost the same node do not return at the same moment."""
    return seconds * (0.5 + secrets.randbelow(1_000) / 1_000)
