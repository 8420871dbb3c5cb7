"""`vyry restored`: run by the operator after restoring a database backup."""

from vyry.cli.command_line import Flag
from vyry.cli.operator import CURRENT_OPERATOR, Operator, run_in_database
from vyry.cli.prompts import confirm_operation
from vyry.clock import SystemClock
from vyry.devices.restore_detection import discard_all_keys
from vyry.operator.restore_marker import TortoiseRestoreMarkers
from vyry.settings.settings import Role, load_settings


def restored(*, by: Operator = CURRENT_OPERATOR, yes: Flag = False) -> int:
    """Delete all one-time prekeys after a database backup was restored.

    Run it before a node starts on that database.

    Nodes detect a restore themselves unless their data folder was restored too. Devices are asked to upload new prekeys. Safe to repeat.

    Args:
        by: The operator and the reason.
        yes: Skip the confirmation prompt.
    """
    if not confirm_operation("This deletes all one-time prekeys of the database", yes=yes):
        return 1
    act = by.audit_entry("restored")

    async def burn_prekeys() -> None:
        store, now = TortoiseRestoreMarkers(), SystemClock().now()
        await discard_all_keys(store, now)
        await store.record_discard(act.operator, act.reason, now)

    run_in_database(load_settings(Role.TOOL), burn_prekeys)
    print("All one-time prekeys are deleted. Devices are asked to upload new ones.")
    return 0
