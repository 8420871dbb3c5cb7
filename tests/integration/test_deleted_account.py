"""A deleted account leaves nothing in any table, whatever there was of it; its peers keep what they were sent."""

from datetime import UTC, datetime

import pytest

from tests.support.database_dump import find_mentions, table_names
from tests.support.full_account import exchange_messages, identifying_values
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device, RequestRefused
from vyry.accounts.deletion import ERASE_DELAY
from vyry.kernel.ids import UserId
from vyry.storage.account_deletion import TortoiseDeletion
from vyry.storage.conversation_models import MemberRow
from vyry.storage.models import AccountRow, DeviceRow


#: Where something of a deleted account may stand, and why.
STAYS = {
    "operator_act.subject": "nobody can change what operators did",
    "content.packed": "mail that its peers have not fetched is theirs, and names its sender",
    "envelope.share": "as the mail itself, until it is fetched",
    "mailbox_share.share": "as the mail itself, until it is fetched",
    "held_notice.body": "what its peers have still to be told",
    "message.mailboxes": "the outcomes of others' posts, for 30 days: a number that leads nowhere any more",
}
#: Tables about nobody.
ABOUT_NOBODY = {
    *("witness", "pepper", "otp_breaker", "recovery_try", "ending", "clock", "announcement"),
    *("workers", "partitions", "partition_map", "partition_plans", "partition_history"),
}


async def delete(node_server: NodeServer, device: Device) -> datetime:
    """Delete the account in the store, and let the peers be told."""
    account, now = await AccountRow.get(id=device.user_id), datetime.now(UTC)
    await TortoiseDeletion().delete(UserId(account.id), [account.phone_hash], now)
    return now


async def erase(node_server: NodeServer, at: datetime) -> None:
    """What the sweeper does until there is nothing left to do at that moment."""
    while await node_server.services.notice_poster.post_pending() + await TortoiseDeletion().erase(at, 3):
        pass


async def test_every_table_that_can_name_an_account_does_so_before(node_server: NodeServer) -> None:
    ann, _, _ = await exchange_messages(node_server)

    found = {place.partition(".")[0] for place in await find_mentions(await identifying_values(ann))}

    # A table that is missing here is new: let `fill` write a row into it, and deletion and export think of it.
    assert found | ABOUT_NOBODY >= set(await table_names())


async def test_no_row_anywhere_names_a_deleted_account(node_server: NodeServer) -> None:
    ann, _, _ = await exchange_messages(node_server)
    names = await identifying_values(ann)

    deleted_at = await delete(node_server, ann)
    await erase(node_server, deleted_at + ERASE_DELAY)

    assert await find_mentions(names) <= STAYS.keys()
    assert not await AccountRow.filter(id=ann.user_id).exists()


async def test_what_peers_were_sent_stays_theirs_and_they_are_told(node_server: NodeServer) -> None:
    ann, bo, _ = await exchange_messages(node_server)

    await erase(node_server, await delete(node_server, ann) + ERASE_DELAY)

    while not (await bo.collect(wait=5))["drained"] or "notice" not in bo.received[-1]:
        pass
    assert bo.contents[1:] == [b"unfetched"]
    notices = [entry["notice"] for entry in bo.received if "notice" in entry]
    assert {"name": "accountDeleted", "userId": ann.user_id} in notices


async def test_to_its_peers_a_deleted_account_is_unknown_at_once_and_for_ever(node_server: NodeServer) -> None:
    ann, bo, conversation = await exchange_messages(node_server)
    post = bo.build_post(conversation, [ann.user_id], b"too late")

    deleted_at = await delete(node_server, ann)
    at_once = [await refusal(bo, "GET", f"/keys/{ann.user_id}"), await refusal(bo, "POST", "/messages", post)]
    opening = {"kind": "direct", "userId": ann.user_id}
    at_once += [await refusal(bo, "POST", "/conversations", opening)]
    await erase(node_server, deleted_at + ERASE_DELAY)

    assert at_once == ["NOT_FOUND", "NOT_FOUND", "NOT_FOUND"]
    assert await refusal(bo, "GET", f"/keys/{ann.user_id}") == "NOT_FOUND"
    assert await refusal(bo, "POST", "/messages", post) == "NOT_A_MEMBER"
    assert (await bo.call("GET", "/conversations"))["conversations"] == []


async def test_what_is_not_settled_waits_and_a_step_undone_is_done_again(node_server: NodeServer) -> None:
    ann, _, _ = await exchange_messages(node_server)
    deleted_at = await delete(node_server, ann)

    await erase(node_server, deleted_at + ERASE_DELAY / 2)
    held = await DeviceRow.filter(account_id=ann.user_id).count()
    await erase(node_server, deleted_at + ERASE_DELAY)

    assert (held, await DeviceRow.filter(account_id=ann.user_id).count()) == (2, 0)


async def test_peers_are_told_before_they_are_forgotten(node_server: NodeServer) -> None:
    ann, bo, _ = await exchange_messages(node_server)

    deleted_at = await delete(node_server, ann)
    while await TortoiseDeletion().erase(deleted_at + ERASE_DELAY, 1000):
        pass

    assert await MemberRow.filter(account_id=ann.user_id).count() == 1
    await erase(node_server, deleted_at + ERASE_DELAY)
    await bo.collect(wait=5)
    assert "accountDeleted" in [entry["notice"]["name"] for entry in bo.received if "notice" in entry]


async def test_the_number_is_free_at_once(node_server: NodeServer) -> None:
    ann = await node_server.node.sign_up()

    await delete(node_server, ann)
    again = await node_server.node.sign_up(ann.number)

    assert again.session["isNewUser"]
    assert again.user_id != ann.user_id


async def refusal(device: Device, method: str, path: str, body: Body | None = None) -> object:
    """The code under which this is refused."""
    with pytest.raises(RequestRefused) as refused:
        await device.call(method, path, body)
    return refused.value.code
