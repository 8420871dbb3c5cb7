"""What happened to the security of an account, written in the transaction in which it happened."""

from tortoise.backends.base.client import BaseDBAsyncClient

from vyry.accounts.events import AccountEvent
from vyry.adapters.rows import AccountEventRow


async def note_event(inside: BaseDBAsyncClient, event: AccountEvent) -> None:
    """Add a line to what the owner can read."""
    _ = await AccountEventRow.create(
        inside,
        account_id=event.account_id,
        name=event.name,
        at=event.at,
        device_id=event.device_id,
        detail=dict(event.detail),
    )
