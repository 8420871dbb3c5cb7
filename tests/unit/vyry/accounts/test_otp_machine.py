"""State machine: every history of codes is decided as the model says, in memory and on SQLite."""

import shutil
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.otp_machine import OtpMachine
from vyry.accounts import otp_limits as sending


@pytest.fixture(autouse=True)
def _breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BREAKER_CODES", sending.BREAKER_CODES)


def test_every_history_over_memory_is_decided_as_the_model_says() -> None:
    run_state_machine_as_test(OtpMachine, settings=settings(max_examples=60, stateful_step_count=40))


def test_every_history_over_sqlite_is_decided_as_the_model_says(sqlite_template: Path, tmp_path: Path) -> None:
    lives = count()

    class OnSqlite(OtpMachine):
        def fresh_url(self) -> str:
            return f"sqlite://{shutil.copy(sqlite_template, tmp_path / f'{next(lives)}.db')}"

    quick = settings(max_examples=25, stateful_step_count=40, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(OnSqlite, settings=quick)
