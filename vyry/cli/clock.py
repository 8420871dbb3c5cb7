"""`vyry clock`: the time that the store has seen, and the operator's word that this machine's clock is right (docs/adr/0028)."""

from cyclopts import App

from vyry.cli.command_line import Flag
from vyry.cli.operator import CURRENT_OPERATOR, Operator, run_in_database
from vyry.cli.prompts import confirm_operation
from vyry.clock import SystemClock
from vyry.clock_monitor import ClockRecord
from vyry.operator.audit import record_action
from vyry.settings.settings import Role, load_settings
from vyry.storage.clock import TortoiseClock
from vyry.storage.database import transaction


app = App(name="clock", help="Look at the time that the store has seen, or confirm this machine's clock.")


@app.command
def show() -> int:
    """Tell what this machine's clock says, what the store has seen last, and what a clock in doubt claims."""
    settings = load_settings(Role.TOOL)
    print(*clock_lines(run_in_database(settings, TortoiseClock().read)), sep="\n")
    return 0


@app.command
def confirm(*, by: Operator = CURRENT_OPERATOR, yes: Flag = False) -> int:
    """Say that this machine's clock is right: nodes with the same time go on deleting and expiring within seconds.

    Args:
        by: Who does it, and why.
        yes: Do it without asking.
    """
    settings = load_settings(Role.TOOL)
    print(*clock_lines(run_in_database(settings, TortoiseClock().read)), sep="\n")
    if not confirm_operation("This lets nodes delete data that has expired by this machine's clock", yes=yes):
        return 1

    async def work() -> None:
        now = SystemClock().now()
        await TortoiseClock().force_confirmed(now)
        async with transaction() as inside:
            await record_action(inside, by.audit_entry("clockConfirmed", details=now.isoformat(timespec="seconds")))

    run_in_database(settings, work)
    print("Confirmed. Nodes whose clock agrees go on within seconds; one that does not stays in doubt.")
    return 0


def clock_lines(reading: ClockRecord) -> list[str]:
    """What is known of the time, a line each."""
    moments = {
        "this machine": SystemClock().now(),
        "the store has seen": reading.confirmed_at,
        "the database server": reading.database_time,
        "a clock in doubt says": reading.claimed_at,
    }
    return [f"{name:<22} {at:%Y-%m-%d %H:%M:%S}Z" for name, at in moments.items() if at is not None]
