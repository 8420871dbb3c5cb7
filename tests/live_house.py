"""A whole node in the test's own process, on a free port: what the real doors, services and stores do, with the clock of its sockets in the test's hand."""

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
from tests.client import Device, Node
from tests.device_keys import DeviceKeys
from vyry.accounts.signing import KeyRing, SigningKey
from vyry.accounts.tokens import Tokens
from vyry.adapters.in_process import InProcessMailbags
from vyry.adapters.rows import DeviceRow, MailboxRow
from vyry.bootstrap import Services, open_services
from vyry.clock import SystemClock
from vyry.ids import UserId, new_id
from vyry.mail.envelope import first_head
from vyry.mail.mailbag import unpack
from vyry.settings import Role, Settings, load_settings
from web.app import build_app, listening
from web.keys import SWITCHBOARD
from web.live.pace import PACE, Pace
from web.live.switchboard import Switchboard


@dataclass(frozen=True)
class Place:
    """Where a node keeps its things: URLs of services, and a folder."""

    database: str
    redis: str | None
    folder: Path


@dataclass
class House:
    """The node and its people."""

    node: Node
    settings: Settings
    services: Services
    app: web.Application

    @property
    def switchboard(self) -> Switchboard:
        """The sockets of the node."""
        return self.app[SWITCHBOARD]

    async def pair(self) -> tuple[Device, Device, str]:
        """Two people and their conversation; each knows the other's devices."""
        ann, bo = await self.node.sign_up(), await self.node.sign_up()
        for one, other in ((ann, bo), (bo, ann)):
            await one.learn(other.user_id)
        return ann, bo, await ann.open_direct(bo)

    async def link(self, device: Device, number: int = 2) -> Device:
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
        token = self.tokens().issue(UserId(row.account_id), row.id, 1)
        session = {"userId": device.user_id, "deviceId": number, "accessToken": token}
        linked = Device(self.node, device.number, session, DeviceKeys(device.keys.identity))
        await linked.upload_keys()
        return linked

    def tokens(self, lifetime: timedelta = timedelta(hours=1)) -> Tokens:
        """The maker of access tokens that live that long."""
        secret = self.settings.jwt_secret.get_secret_value().encode()
        return Tokens(KeyRing([SigningKey.first(secret)], SystemClock()), lifetime, timedelta(days=1), SystemClock())

    async def short_lived(self, device: Device, lifetime: timedelta) -> str:
        """An access token of this device that ends soon."""
        row = await DeviceRow.get(account_id=device.user_id, device_id=device.device_id, ended_at=None)
        return self.tokens(lifetime).issue(UserId(row.account_id), row.id, row.session_generation)


@asynccontextmanager
async def open_house(place: Place, pace: Pace = PACE) -> AsyncIterator[House]:
    """Open a node there, with somebody who sorts its mailbags."""
    codes = place.folder / "codes"
    names = {
        "VYRY_DATA_DIR": str(place.folder),
        "VYRY_SMS": f"file:{codes}",
        "VYRY_ENV": "development",
        "VYRY_LIMITS": "off",
        "VYRY_PUSH_HOSTS": f"127.0.0.1:{PUSH_PORT}",
        "DATABASE_URL": place.database,
    }
    settings = load_settings(Role.ALONE, names)
    if place.redis:
        # `vyry start` takes no Redis: this is half a cluster, without Kafka.
        settings = settings.model_copy(update={"redis_url": SecretStr(place.redis)})
    async with open_services(settings, Role.ALONE) as services:
        app = build_app(settings, services, pace)
        sorting = asyncio.create_task(_sort(services))
        async with listening(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as http:
            yield House(Node(http, f"http://127.0.0.1:{port}", codes), settings, services, app)
        sorting.cancel()


async def _sort(services: Services) -> None:
    """What the mailbox agent does, without Faust."""
    assert isinstance(services.mailbags, InProcessMailbags)
    while True:
        for bags in (await services.mailbags.collect()).values():
            for bag in bags:
                services.depositor.add(unpack(bag))


async def until(claim: Callable[[], bool]) -> None:
    """Come back when this has come true inside the node, where nothing tells of it."""
    for _ in range(1000):
        if claim():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
