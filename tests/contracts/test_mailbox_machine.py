"""The mailbox machine over PostgreSQL; over memory and SQLite it runs with the unit tests."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.mailbox_machine import MailboxMachine


def test_every_life_of_a_mailbox_on_postgres_keeps_the_invariants(postgres_url: str) -> None:
    machine = type("PostgresMachine", (MailboxMachine,), {"url": postgres_url})
    lives = settings(max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))

    run_state_machine_as_test(machine, settings=lives)
