"""An account with something of everything that a node can hold about one."""

from datetime import UTC, datetime, timedelta

from tests.all_rows import distant_mailboxes
from tests.client import Device
from tests.live_house import House
from vyry.accounts.acts import OperatorAct
from vyry.adapters.database import transaction
from vyry.adapters.operator_acts import note_act
from vyry.adapters.rows import (
    AccountPinRow,
    AccountRow,
    DeviceRow,
    LinkRow,
    OtpChallengeRow,
    OtpPaceRow,
    OtpSentRow,
    PushTargetRow,
    RegistrationRow,
)
from vyry.ids import new_id


async def needles(device: Device) -> set[str]:
    """What names the account: its id, number, devices and mailboxes."""
    account = await AccountRow.get(id=device.user_id)
    found = {account.id.hex, account.phone_hash, account.phone_sealed.hex()}
    for row in await DeviceRow.filter(account_id=account.id):
        found |= {row.id.hex, row.mailbox_id.hex, str(row.mailbox)}
    return found


async def fill(device: Device) -> None:
    """Rows for this account in the tables that a conversation alone does not fill."""
    account, now = await AccountRow.get(id=device.user_id), datetime.now(UTC)
    named = {"account_id": account.id, "expires_at": now + timedelta(minutes=5)}
    number = {"phone_hash": account.phone_hash, "phone_sealed": account.phone_sealed}
    about = {"public_key": b"k", "name": "n", "platform": "web", "requested_from": "x", "status": "scanned"}
    challenge = {"purpose": "login", "code_hash": b"h", "guesses_left": 5, "created_at": now, "expires_at": now}
    rows = [
        AccountPinRow(account_id=account.id, verifier="v", pepper_id=1, changed_at=now),
        RegistrationRow(token_hash="r" * 64, **named, **number),
        LinkRow(id=new_id(), secret_hash="s" * 64, **named, **about),
        OtpChallengeRow(id=new_id(), **number, **challenge),
        PushTargetRow(device=(await DeviceRow.get(account_id=account.id, is_primary=True)).id, kind="fcm", token="t"),
        OtpSentRow(at=now, phone_hash=account.phone_hash, network="n" * 64, prefix="p" * 64, area="a" * 64, cost=9),
    ]
    for row in rows:
        await row.save(force_create=True)
    await OtpPaceRow.filter(phone_hash=account.phone_hash).delete()
    await OtpPaceRow(phone_hash=account.phone_hash, sent_at=now).save(force_create=True)
    async with transaction() as inside:
        await note_act(inside, OperatorAct(now, "op", "userShow", "a test", account.id))


async def talk(house: House) -> tuple[Device, Device, str]:
    """Ann, who has another device, and Bo have written to each other; some of it is acknowledged, some waits."""
    await distant_mailboxes()
    ann, bo, conversation = await house.pair()
    await ann.post(conversation, bo, b"fetched")
    await bo.collect(wait=5)
    await bo.acknowledge()
    await ann.post(conversation, bo, b"unfetched")
    await house.link(ann)
    await bo.post(conversation, ann, b"acknowledged")
    await ann.collect(wait=5)
    await ann.acknowledge()
    await bo.post(conversation, ann, b"waiting")
    await fill(ann)
    return ann, bo, conversation
