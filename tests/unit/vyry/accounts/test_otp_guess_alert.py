"""The log event when most guesses are wrong."""

from structlog.testing import capture_logs

from tests.support.fake_clock import FakeClock
from vyry.accounts.otp import MIN_GUESSES, MONITOR_WINDOW, GuessMonitor


def events(logs: list[dict[str, object]]) -> list[object]:
    return [line["event"] for line in logs]


def test_a_wave_of_wrong_guesses_is_told_once_and_its_end_once() -> None:
    watch = GuessMonitor(FakeClock())

    with capture_logs() as logs:
        for _ in range(MIN_GUESSES * 3):
            watch.record(is_right=False)
        for _ in range(MIN_GUESSES * 7):
            watch.record(is_right=True)

    assert events(logs) == ["otp_guessing_detected", "otp_guessing_ended"]  # type: ignore[arg-type]  # structlog's own mapping
    assert (logs[0]["count"], logs[0]["failures"], logs[0]["log_level"]) == (MIN_GUESSES, MIN_GUESSES, "warning")


def test_a_few_wrong_guesses_and_many_among_more_right_ones_are_everyday() -> None:
    watch = GuessMonitor(FakeClock())

    with capture_logs() as logs:
        for number in range(MIN_GUESSES * 4):
            watch.record(is_right=number % 2 == 0)

    assert logs == []


def test_a_wave_that_ebbs_and_flows_is_one_wave() -> None:
    watch = GuessMonitor(FakeClock())

    with capture_logs() as logs:
        for _ in range(MIN_GUESSES):
            watch.record(is_right=False)
        for number in range(MIN_GUESSES * 4):
            watch.record(is_right=number % 2 == 0)

    assert events(logs) == ["otp_guessing_detected"]  # type: ignore[arg-type]  # structlog's own mapping


def test_wrong_guesses_of_long_ago_do_not_count() -> None:
    clock = FakeClock()
    watch = GuessMonitor(clock)

    with capture_logs() as logs:
        for _ in range(MIN_GUESSES * 2):
            watch.record(is_right=False)
            clock.advance(seconds=MONITOR_WINDOW.total_seconds() / (MIN_GUESSES - 2))

    assert logs == []
