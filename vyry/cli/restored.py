"""`vyry restored`: the operator says that the database was put back to an older state."""

from typing import Annotated

from cyclopts import Parameter

from vyry.adapters.witness import TortoiseLedger
from vyry.cli.acting import SOMEBODY, By, in_database
from vyry.cli.asking import confirmed
from vyry.clock import SystemClock
from vyry.devices.ledger import burn_all
from vyry.settings import Role, load_settings


def restored(*, by: By = SOMEBODY, yes: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Burn all one-time prekeys of a database that was restored, before a node serves from it.

    Nodes find most restores themselves; not one that brought their data folder back too. Devices are told to upload new keys. May be repeated.

    Args:
        by: Who does it, and why.
        yes: Do it without asking.
    """
    if not yes and not confirmed("This would burn all one-time prekeys of the database"):
        return 1
    act = by.act("restored")

    async def burn() -> None:
        store, now = TortoiseLedger(), SystemClock().now()
        await burn_all(store, now)
        await store.note(act.operator, act.reason, now)

    in_database(load_settings(Role.TOOL), burn)
    print("All one-time prekeys are burned; devices are told to upload new ones.")
    return 0
