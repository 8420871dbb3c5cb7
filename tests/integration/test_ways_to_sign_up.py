"""VYRY_SIGN_UP: the ways to sign up that a node offers, and its answers to the others."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.joining import invite
from tests.support.rest_device import unused_number
from vyry.accounts.account import Platform
from vyry.accounts.joining import JoinRequest
from vyry.accounts.otp import Channel, Purpose
from vyry.accounts.signup import NewSession, RequestOrigin
from vyry.composition.accounts import SignUpServices
from vyry.composition.services import open_services
from vyry.errors import Forbidden, InvalidRequest
from vyry.kernel.ids import new_id
from vyry.settings.settings import Role, Settings, load_settings


ADDRESS = "192.0.2.7"
Opened = Callable[[str], AbstractAsyncContextManager[tuple[SignUpServices, Settings]]]


@pytest.fixture
def opened(sqlite_url: str, tmp_path: Path) -> Opened:
    """Opens a node with this VYRY_SIGN_UP."""

    @asynccontextmanager
    async def open_node(ways: str) -> AsyncIterator[tuple[SignUpServices, Settings]]:
        names = {"VYRY_DATA_DIR": str(tmp_path), "DATABASE_URL": sqlite_url, "VYRY_SIGN_UP": ways}
        settings = load_settings(Role.START, names)
        async with open_services(settings, Role.START) as services:
            yield services.sign_up, settings

    return open_node


async def join(services: SignUpServices, token: str | None) -> NewSession:
    request = JoinRequest(token, None, None, None, "phone", Platform.CLI)
    return (await services.joining.join(request, ADDRESS))[0]


async def ask(services: SignUpServices, purpose: Purpose) -> None:
    await services.registration.request_otp(unused_number(), purpose, Channel.SMS, RequestOrigin(ADDRESS))


async def test_an_open_node_needs_no_invitation(opened: Opened) -> None:
    async with opened("open") as (services, _):
        assert (await join(services, None)).is_new_user
        assert (await join(services, "any text")).is_new_user


async def test_an_open_node_that_takes_invitations_claims_those_that_are_given(opened: Opened) -> None:
    async with opened("invitation,open") as (services, settings):
        token = await invite(settings)
        assert (await join(services, token)).recovery_code is not None
        with pytest.raises(Exception, match="not found"):
            await join(services, token)
        assert (await join(services, None)).is_new_user


async def test_a_node_for_invitations_signs_no_number_up_and_sends_other_codes(opened: Opened) -> None:
    async with opened("invitation") as (services, settings):
        with pytest.raises(Forbidden):
            await ask(services, Purpose.LOGIN)
        with pytest.raises(Forbidden):
            await services.registration.verify_otp(new_id(), "123456", "phone", Platform.CLI)
        await ask(services, Purpose.PIN_RESET)
        with pytest.raises(InvalidRequest):
            await join(services, None)
        assert (await join(services, await invite(settings))).is_new_user


async def test_a_node_for_numbers_takes_no_invitation(opened: Opened) -> None:
    async with opened("number") as (services, settings):
        for token in (None, await invite(settings)):
            with pytest.raises(Forbidden):
                await join(services, token)
        await ask(services, Purpose.LOGIN)
