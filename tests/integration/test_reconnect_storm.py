"""Many devices reconnect at once while the database is slow: all are admitted, and no statement times out."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import aiohttp
import orjson

from tests.support.node_server import NodeBackends, NodeServer, open_node_server
from vyry.kernel.chain import first_head
from vyry.kernel.ids import UserId, new_id
from vyry.storage.database import connection
from vyry.storage.models import AccountRow, DeviceRow, MailboxRow


DEVICES = 150
#: As a commit on a slow disk. A statement for each device would take 7.5 s, longer than the time-out of one.
SLOW_DISK = """
    CREATE FUNCTION wait_for_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
    CREATE TRIGGER slow_disk AFTER UPDATE ON mailbox FOR EACH STATEMENT EXECUTE FUNCTION wait_for_disk();
"""


async def add_devices(node: NodeServer, count: int) -> list[str]:
    """So many accounts with a device each; returns their access tokens."""
    tokens = []
    for _ in range(count):
        mailbox_id, user, now = new_id(), UserId(uuid4()), datetime.now(UTC)
        head = first_head(mailbox_id)
        account = AccountRow(id=user, phone_hash=uuid4().hex, phone_sealed=b"", created_at=now)
        await account.save(force_create=True)
        box = await MailboxRow.create(mailbox_id=mailbox_id, head=head, acknowledged_head=head)
        row = DeviceRow(
            id=new_id(),
            account_id=user,
            device_id=1,
            mailbox=box.id,
            mailbox_id=mailbox_id,
            name="one of many",
            platform="cli",
            is_primary=True,
            linked_at=now,
            last_seen_on=now.date(),
        )
        await row.save(force_create=True)
        tokens.append(node.token_issuer().issue(user, row.id, 1))
    return tokens


async def say_hello(url: str, http: aiohttp.ClientSession, token: str) -> str:
    """Connect and say hello; returns the type of the answer, or the code of its refusal."""
    headers = {"Authorization": f"Bearer {token}", "Sec-WebSocket-Protocol": "vyry.v1.json"}
    async with http.ws_connect(f"{url}/api/v1/ws", headers=headers) as socket:
        payload = {"after": 0, "head": None, "client": {"name": "test", "version": "1"}}
        await socket.send_str(orjson.dumps({"type": "hello", "id": "1", "payload": payload}).decode())
        answer = orjson.loads((await socket.receive(timeout=30)).data)
    return str(answer["payload"].get("code", answer["type"]))


async def test_all_devices_at_once_are_welcomed_by_a_node_with_a_slow_database(
    postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with (
        open_node_server(NodeBackends(postgres_url, redis_url, tmp_path)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        tokens = await add_devices(server, DEVICES)
        await connection().execute_script(SLOW_DISK)

        answers = await asyncio.gather(*(say_hello(server.node.url, http, token) for token in tokens))

    assert set(answers) == {"welcome"}
