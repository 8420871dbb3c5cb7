"""`vyry clock`: shows the latest time stored in the database, and confirms that this machine's clock is right (docs/adr/0028)."""

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


app = App(name="clock")


@app.command
def show() -> int:
    """Show this machine's clock, the latest time stored in the database, and the time of a node whose clock is not trusted."""
    settings = load_settings(Role.TOOL)
    print(*clock_lines(run_in_database(settings, TortoiseClock().read)), sep="\n")
    return 0


@app.command
def confirm(*, by: Operator = CURRENT_OPERATOR, yes: Flag = False) -> int:
    """Confirm that this machine's clock is right. Nodes whose clock agrees resume deletion and expiry within seconds.

    Args:
        by: The operator and the reason.
        yes: Skip the confirmation prompt.
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
    print("Confirmed. Nodes whose clock agrees resume deletion within seconds; a node whose clock differs does not.")
    return 0


def clock_lines(reading: ClockRecord) -> list[str]:
    """The known times, one line each."""
    moments = {
        "this machine": SystemClock().now(),
        "latest stored time": reading.confirmed_at,
        "the database server": reading.database_time,
        "untrusted node clock": reading.claimed_at,
    }
    return [f"{name:<22} {at:%Y-%m-%d %H:%M:%S}Z" for name, at in moments.items() if at is not None]
