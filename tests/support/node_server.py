"""A whole node in the process of the test, on a free port: real routes, services and stores, and a clock that the test sets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from scripts.nodes import PUSH_PORT
from tests.support.device_keys import DeviceKeys
from tests.support.rest_device import Device, NodeClient
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.tokens import Tokens
from vyry.clock import SystemClock
from vyry.composition.services import Services, open_services
from vyry.in_process.routing import InProcessWorkTopic
from vyry.kernel.chain import first_head
from vyry.kernel.ids import UserId, new_id
from vyry.mail.work_record import unpack
from vyry.settings.settings import Role, Settings, load_settings
from vyry.storage.models import DeviceRow, MailboxRow
from web.app import build_app
from web.app_keys import SOCKET_HUB
from web.connection import serve_app
from web.live.hub import SOCKET_TIMEOUTS, SocketHub, SocketTimeouts


@dataclass(frozen=True)
class NodeBackends:
    """Where a node keeps its things: URLs of services, and a folder."""

    database: str
    redis: str | None
    folder: Path


@dataclass
class NodeServer:
    """The node and its people."""

    node: NodeClient
    settings: Settings
    services: Services
    app: web.Application

    @property
    def socket_hub(self) -> SocketHub:
        """The sockets of the node."""
        return self.app[SOCKET_HUB]

    async def sign_up_pair(self) -> tuple[Device, Device, str]:
        """Two people and their conversation; each knows the other's devices."""
        ann, bo = await self.node.sign_up(), await self.node.sign_up()
        for one, other in ((ann, bo), (bo, ann)):
            await one.fetch_device_list(other.user_id)
        return ann, bo, await ann.open_direct(bo)

    async def add_linked_device(self, device: Device, number: int = 2) -> Device:
        """Another device of the same account, with keys (linking has no route yet)."""
        mailbox_id = new_id()
        head = first_head(mailbox_id)
        box = await MailboxRow.create(mailbox_id=mailbox_id, head=head, acknowledged_head=head)
        row = DeviceRow(
            id=new_id(),
            account_id=device.user_id,
            device_id=number,
            mailbox=box.id,
            mailbox_id=mailbox_id,
            name="another",
            platform="cli",
            is_primary=False,
            linked_at=datetime.now(UTC),
            last_seen_on=datetime.now(UTC).date(),
        )
        await row.save(force_create=True)
        token = self.token_issuer().issue(UserId(row.account_id), row.id, 1)
        session = {"userId": device.user_id, "deviceId": number, "accessToken": token}
        linked = Device(self.node, device.number, session, DeviceKeys(device.keys.identity))
        await linked.upload_keys()
        return linked

    def token_issuer(self, lifetime: timedelta = timedelta(hours=1)) -> Tokens:
        """The maker of access tokens that live that long."""
        secret = self.settings.jwt_secret.get_secret_value().encode()
        return Tokens(KeyRing([SigningKey.first(secret)], SystemClock()), lifetime, timedelta(days=1), SystemClock())

    async def issue_short_lived(self, device: Device, lifetime: timedelta) -> str:
        """An access token of this device that ends soon."""
        row = await DeviceRow.get(account_id=device.user_id, device_id=device.device_id, ended_at=None)
        return self.token_issuer(lifetime).issue(UserId(row.account_id), row.id, row.session_generation)


@asynccontextmanager
async def open_node_server(place: NodeBackends, pace: SocketTimeouts = SOCKET_TIMEOUTS) -> AsyncIterator[NodeServer]:
    """Open a node there, with a task that deposits its work records."""
    codes = place.folder / "codes"
    names = {
        "VYRY_DATA_DIR": str(place.folder),
        "VYRY_SMS": f"file:{codes}",
        "VYRY_ENV": "development",
        "VYRY_LIMITS": "off",
        "VYRY_PUSH_HOSTS": f"127.0.0.1:{PUSH_PORT}",
        "DATABASE_URL": place.database,
    }
    settings = load_settings(Role.START, names)
    if place.redis:
        # `vyry start` takes no Redis: this is half a cluster, without Kafka.
        settings = settings.model_copy(update={"redis_url": SecretStr(place.redis)})
    async with open_services(settings, Role.START) as services:
        app = build_app(settings, services, pace)
        depositing = asyncio.create_task(_deposit_work_records(services))
        async with serve_app(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as http:
            yield NodeServer(NodeClient(http, f"http://127.0.0.1:{port}", codes), settings, services, app)
        depositing.cancel()


async def _deposit_work_records(services: Services) -> None:
    """What the mailbox agent does, without Faust."""
    assert isinstance(services.work_topic, InProcessWorkTopic)
    while True:
        for records in (await services.work_topic.receive()).values():
            for record in records:
                services.depositor.add(unpack(record))


async def wait_until(claim: Callable[[], bool]) -> None:
    """Come back when this has come true inside the node, where nothing tells of it."""
    for _ in range(1000):
        if claim():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
