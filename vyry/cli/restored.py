"""`vyry restored`: the operator says that the database was put back to an older state."""

from vyry.cli.command_line import Flag
from vyry.cli.operator import CURRENT_OPERATOR, Operator, run_in_database
from vyry.cli.prompts import confirm_operation
from vyry.clock import SystemClock
from vyry.devices.restore_detection import discard_all_keys
from vyry.operator.restore_marker import TortoiseRestoreMarkers
from vyry.settings.settings import Role, load_settings


def restored(*, by: Operator = CURRENT_OPERATOR, yes: Flag = False) -> int:
    """Burn all one-time prekeys of a database that was restored, before a node serves from it.

    Nodes find most restores themselves; not one that brought their data folder back too. Devices are told to upload new keys. May be repeated.

    Args:
        by: Who does it, and why.
        yes: Do it without asking.
    """
    if not confirm_operation("This would burn all one-time prekeys of the database", yes=yes):
        return 1
    act = by.audit_entry("restored")

    async def burn_prekeys() -> None:
        store, now = TortoiseRestoreMarkers(), SystemClock().now()
        await discard_all_keys(store, now)
        await store.record_discard(act.operator, act.reason, now)

    run_in_database(load_settings(Role.TOOL), burn_prekeys)
    print("All one-time prekeys are burned; devices are told to upload new ones.")
    return 0
