"""What a push service said last about a device is kept for the operator, also when the service ended the push target."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from scripts.nodes import PUSH_PORT
from tests.support.node_server import NodeServer
from tests.support.push_server import PushServer, open_push_server
from tests.support.rest_device import Device
from tests.support.sms_provider_server import respond_with
from vyry.accounts.events import OperatorAction
from vyry.clock import SystemClock
from vyry.kernel.ids import UserId
from vyry.operator import accounts as operating
from vyry.operator.mailboxes import find_device, release_waiting
from vyry.operator.push_details import PushDetails, load_push_details
from vyry.storage.models import PushReportRow


PATH = "/devices/current/push"


@pytest.fixture
async def services() -> AsyncIterator[PushServer]:
    async with open_push_server(PUSH_PORT) as opened:
        yield opened


def act(name: str) -> OperatorAction:
    return OperatorAction(SystemClock().now(), "olga", name, "a test")


async def details(device: Device) -> PushDetails:
    return await load_push_details((await find_device(UserId(UUID(device.user_id)), device.device_id)).device)


async def until(device: Device, claim: Callable[[PushDetails], bool]) -> PushDetails:
    """Come back when this has come true in the database."""
    for _ in range(3000):
        if claim(found := await details(device)):
            return found
        await asyncio.sleep(0.01)
    raise TimeoutError


def has_report(found: PushDetails) -> bool:
    return found.report is not None


async def wake(
    node_server: NodeServer,
    pair: tuple[Device, Device, str],
    services: PushServer,
    claim: Callable[[PushDetails], bool] = has_report,
) -> PushDetails:
    """Mail for Bo, whose wake-up the operator makes due at once; answers what is known when this has come true."""
    ann, bo, together = pair
    await bo.call("PUT", PATH, services.subscribe().registration_body(services.url))
    await ann.post(together, bo, b"hello")
    device = await find_device(UserId(UUID(bo.user_id)), 1)
    await node_server.services.mail_store.deposit([device.mailbox])
    await release_waiting(device, act("mailboxUnpark"))
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(node_server.services.push.wakeups.run())
        found = await until(bo, claim)
        sending.cancel()
    return found


async def test_a_push_that_was_taken_is_reported_with_its_status(node_server: NodeServer, services: PushServer) -> None:
    pair = await node_server.sign_up_pair()

    found = await wake(node_server, pair, services)

    assert found.report is not None
    assert (found.kind, found.report.kind, found.report.result, found.report.status) == (
        *("webpush", "webpush"),
        *("sent", 201),
    )


async def test_a_target_that_is_gone_stays_explained_until_another_is_registered(
    node_server: NodeServer, services: PushServer
) -> None:
    pair = await node_server.sign_up_pair()
    services.fault = respond_with(410)
    found = await wake(node_server, pair, services, lambda each: each.kind is None)

    await pair[1].call("PUT", PATH, services.subscribe().registration_body(services.url))
    renewed = await details(pair[1])

    assert found.report is not None
    assert (found.report.result, found.report.status) == ("gone", 410)
    assert (renewed.kind, renewed.report) == ("webpush", None)


async def test_the_report_ends_with_the_device(node_server: NodeServer, services: PushServer) -> None:
    pair = await node_server.sign_up_pair()
    services.fault = respond_with(503)
    found = await wake(node_server, pair, services)

    await operating.end_all_devices(UserId(UUID(pair[1].user_id)), act("userEndDevices"))

    assert found.report is not None
    assert (found.report.result, found.report.status) == ("later", 503)
    assert await PushReportRow.all().count() == 0
