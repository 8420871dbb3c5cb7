"""What tests of PINs read: the notices of an account's devices, and the notes for its owner."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from tests.fakes.pins import MemoryPins
from tests.support.account_harness import AccountStores
from vyry.kernel.ids import MailboxKey
from vyry.storage.conversation_models import NoticeRow
from vyry.storage.models import AccountEventRow


_ABOUT: Final = ("pin", "registration")
_ANYBODY: Final = MailboxKey(-1)


async def pin_notices(
    stores: AccountStores, account_id: UUID, without: MailboxKey | None = _ANYBODY
) -> list[Mapping[str, object]]:
    """The notices about PINs that wait for the devices of an account, those alone that leave out this mailbox."""
    if isinstance(stores.pins, MemoryPins):
        found = [(body, left_out) for account, body, left_out in stores.pins.ledger.notices if account == account_id]
    else:
        rows = await NoticeRow.filter(account_id=account_id, audience="own").order_by("id")
        found = [(row.body, row.without) for row in rows if str(row.body["name"]).startswith(_ABOUT)]
    return [body for body, left_out in found if without in (_ANYBODY, left_out)]


async def pin_events(stores: AccountStores, account_id: UUID) -> list[str]:
    """The names of the events about PINs that the owner can read, in their order."""
    if isinstance(stores.pins, MemoryPins):
        return [name for account, name in stores.pins.ledger.events if account == account_id]
    rows = await AccountEventRow.filter(account_id=account_id).order_by("id")
    return [row.name for row in rows if row.name.startswith(_ABOUT)]
