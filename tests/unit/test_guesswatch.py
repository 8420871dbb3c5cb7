"""The one line in the log when most guesses at codes are wrong."""

from structlog.testing import capture_logs

from tests.account_room import StandingClock
from vyry.accounts.guesswatch import FEW, SPAN, GuessWatch


def events(logs: list[dict[str, object]]) -> list[object]:
    return [line["event"] for line in logs]


def test_a_wave_of_wrong_guesses_is_told_once_and_its_end_once() -> None:
    watch = GuessWatch(StandingClock())

    with capture_logs() as logs:
        for _ in range(FEW * 3):
            watch.note(is_right=False)
        for _ in range(FEW * 7):
            watch.note(is_right=True)

    assert events(logs) == ["guessing", "guessing over"]  # type: ignore[arg-type]  # structlog's own mapping
    assert (logs[0]["count"], logs[0]["failures"], logs[0]["log_level"]) == (FEW, FEW, "warning")


def test_a_few_wrong_guesses_and_many_among_more_right_ones_are_everyday() -> None:
    watch = GuessWatch(StandingClock())

    with capture_logs() as logs:
        for number in range(FEW * 4):
            watch.note(is_right=number % 2 == 0)

    assert logs == []


def test_a_wave_that_ebbs_and_flows_is_one_wave() -> None:
    watch = GuessWatch(StandingClock())

    with capture_logs() as logs:
        for _ in range(FEW):
            watch.note(is_right=False)
        for number in range(FEW * 4):
            watch.note(is_right=number % 2 == 0)

    assert events(logs) == ["guessing"]  # type: ignore[arg-type]  # structlog's own mapping


def test_wrong_guesses_of_long_ago_do_not_count() -> None:
    clock = StandingClock()
    watch = GuessWatch(clock)

    with capture_logs() as logs:
        for _ in range(FEW * 2):
            watch.note(is_right=False)
            clock.advance(seconds=SPAN.total_seconds() / (FEW - 2))

    assert logs == []
