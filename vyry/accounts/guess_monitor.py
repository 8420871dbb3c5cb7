"""Watches the guesses at all one-time codes: logs once when most of them are wrong, and once when that has ended."""

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from vyry.clock import Clock
from vyry.telemetry import OTP_GUESSES, log


#: The guesses of this window count, at most MAX_GUESSES of them; below MIN_GUESSES nothing is logged.
MONITOR_WINDOW: Final = timedelta(minutes=10)
MAX_GUESSES: Final = 1000
MIN_GUESSES: Final = 30


class GuessMonitor:
    """Counts the guesses of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: deque[tuple[datetime, bool]] = deque(maxlen=MAX_GUESSES)
        self._is_alarmed = False

    def record(self, *, is_right: bool) -> None:
        """Count a guess."""
        OTP_GUESSES.labels("right" if is_right else "wrong").inc()
        now = self._clock.now()
        self._recent.append((now, is_right))
        while self._recent[0][0] <= now - MONITOR_WINDOW:
            self._recent.popleft()
        wrong = sum(not each for _, each in self._recent)
        is_alarming = len(self._recent) >= MIN_GUESSES and wrong * 2 > len(self._recent)
        if is_alarming and not self._is_alarmed:
            log.warning(
                "otp_guessing_detected", count=len(self._recent), failures=wrong, seconds=MONITOR_WINDOW.total_seconds()
            )
        elif self._is_alarmed and wrong * 3 < len(self._recent):
            log.info("otp_guessing_ended", count=len(self._recent), failures=wrong)
            self._is_alarmed = False
        self._is_alarmed |= is_alarming
