"""How often something can be done in a second of processor time."""

import time
from collections.abc import Awaitable, Callable


TEXT = b"x" * 100
_AT_A_TIME = 50


def calls_per_second(act: Callable[[], object], seconds: float) -> float:
    """Times a second, over that many seconds of this process; the first ones are not counted."""
    for _ in range(_AT_A_TIME):
        act()
    count, began = 0, time.process_time()
    while (took := time.process_time() - began) < seconds:
        for _ in range(_AT_A_TIME):
            act()
        count += _AT_A_TIME
    return count / took


async def awaits_per_second(act: Callable[[], Awaitable[object]], seconds: float) -> float:
    """The same for a library that wants to be awaited."""
    for _ in range(_AT_A_TIME):
        await act()
    count, began = 0, time.process_time()
    while (took := time.process_time() - began) < seconds:
        for _ in range(_AT_A_TIME):
            await act()
        count += _AT_A_TIME
    return count / took
