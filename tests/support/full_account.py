"""An account with something of everything that a node can hold about one."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from tortoise.models import Model

from tests.support.database_dump import start_mailbox_ids_high
from tests.support.node_server import NodeServer
from tests.support.rest_device import Device
from vyry.accounts.events import OperatorAction
from vyry.kernel.ids import new_id
from vyry.operator.audit import record_action
from vyry.storage.conversation_models import (
    AttachmentRow,
    BlockRow,
    CallRow,
    DeferredNoticeRow,
    FriendRequestRow,
    FriendRow,
    GroupInvitationRow,
    InviteRow,
    ProvenNetworkRow,
    ReservedUsernameRow,
)
from vyry.storage.database import transaction
from vyry.storage.models import (
    AccountPinRow,
    AccountRow,
    DeviceRow,
    LinkRow,
    OtpChallengeRow,
    OtpSentRow,
    PushReportRow,
    PushTargetRow,
    PushWakeupRow,
    UnlockTokenRow,
)
from vyry.storage.raw_sql import fetch
from vyry.storage.sign_up_models import RecoveryCodeRow, SignupAttemptRow, SignupInvitationRow


#: As if its other device had a mailbox of its own mail (vyry/mail/capacity.py).
_SHARE = "INSERT INTO mailbox_share (mailbox, share, lane, entries, size) VALUES ($1, $2, 0, 1, 9)"


async def identifying_values(device: Device) -> set[str]:
    """What names the account: its id, number, devices and mailboxes."""
    account = await AccountRow.get(id=device.user_id)
    found = {account.id.hex, account.phone_hash, account.phone_sealed.hex(), str(account.username)}
    for row in await DeviceRow.filter(account_id=account.id):
        found |= {row.id.hex, row.mailbox_id.hex, str(row.mailbox)}
    return found


async def add_account_rows(device: Device) -> None:
    """Rows for this account in the tables that a conversation alone does not fill."""
    account, now = await AccountRow.get(id=device.user_id), datetime.now(UTC)
    named = {"account_id": account.id, "expires_at": now + timedelta(minutes=5)}
    number = {"phone_hash": account.phone_hash, "phone_sealed": account.phone_sealed}
    about = {"public_key": b"k", "name": "n", "platform": "web", "requested_from": "x", "status": "scanned"}
    challenge = {"purpose": "login", "code_hash": b"h", "guesses_left": 5, "created_at": now, "expires_at": now}
    primary = await DeviceRow.get(account_id=account.id, is_primary=True)
    await AccountRow.filter(id=account.id).update(username=f"name_of_{account.id.hex[-12:]}")
    rows: list[Model] = [
        ReservedUsernameRow(hash="h" * 64, account_id=account.id, free_on=now.date() + timedelta(days=9)),
        AccountPinRow(account_id=account.id, verifier="v", pepper_id=1, changed_at=now),
        UnlockTokenRow(token_hash="r" * 64, **named, **number),
        RecoveryCodeRow(account_id=account.id, code_hash="c" * 64, created_at=now),
        SignupAttemptRow(attempt_hash="t" * 64, **named),
        SignupInvitationRow(
            id=new_id(), token_hash="v" * 64, pepper_id=1, max_uses=2, uses=0, created_at=now, label="for Cy", **named
        ),
        LinkRow(id=new_id(), secret_hash="s" * 64, **named, **about),
        OtpChallengeRow(id=new_id(), **number, **challenge),
        PushTargetRow(device=primary.id, kind="fcm", token="t"),
        PushReportRow(device=primary.id, kind="fcm", result="later", status=503, at=now),
        DeferredNoticeRow(
            mailbox=primary.mailbox, subject="name=pinFailed", notice_id=new_id(), body={"name": "pinFailed"}
        ),
        PushWakeupRow(device=primary.id, mailbox=primary.mailbox, due_at=now),
        ProvenNetworkRow(phone_hash=account.phone_hash, network="n" * 64, proven_on=now.date()),
        OtpSentRow(at=now, phone_hash=account.phone_hash, network="n" * 64, prefix="p" * 64, area="a" * 64, cost=9),
    ]
    for row in rows + _relationship_rows(account.id, now):
        await row.save(force_create=True)
    async with transaction() as tx:
        await fetch(tx, _SHARE, primary.mailbox, account.id)
        await record_action(tx, OperatorAction(now, "op", "userShow", "a test", account.id))


def _relationship_rows(account_id: UUID, now: datetime) -> list[Model]:
    """What ties the account to others, from both sides."""
    other, lasting = new_id(), {"created_at": now, "expires_at": now + timedelta(days=1)}
    return [
        FriendRow(account_id=account_id, friend_id=other, since=now),
        FriendRow(account_id=other, friend_id=account_id, since=now),
        FriendRequestRow(account_id=account_id, to_id=other, at=now),
        FriendRequestRow(account_id=other, to_id=account_id, at=now),
        BlockRow(account_id=account_id, blocked_id=other, at=now),
        BlockRow(account_id=other, blocked_id=account_id, at=now),
        GroupInvitationRow(conversation_id=new_id(), account_id=account_id, to_id=other, at=now),
        GroupInvitationRow(conversation_id=new_id(), account_id=other, to_id=account_id, at=now),
        InviteRow(
            id=new_id(), conversation_id=other, account_id=account_id, token_hash="i" * 64, max_uses=1, **lasting
        ),
        AttachmentRow(id=new_id(), account_id=account_id, length=9, **lasting),
        CallRow(call_id=new_id(), account_id=account_id, to_id=other, device_id=1, at=now),
        CallRow(call_id=new_id(), account_id=other, to_id=account_id, device_id=1, at=now),
    ]


async def exchange_messages(house: NodeServer) -> tuple[Device, Device, str]:
    """Ann, who has another device, and Bo have written to each other; some of it is acknowledged, some waits."""
    await start_mailbox_ids_high()
    ann, bo, conversation = await house.sign_up_pair()
    await ann.post(conversation, bo, b"fetched")
    await bo.collect(wait=5)
    await bo.acknowledge()
    await ann.post(conversation, bo, b"unfetched")
    await house.add_linked_device(ann)
    await bo.post(conversation, ann, b"acknowledged")
    await ann.collect(wait=5)
    await ann.acknowledge()
    await bo.post(conversation, ann, b"waiting")
    await add_account_rows(ann)
    return ann, bo, conversation
