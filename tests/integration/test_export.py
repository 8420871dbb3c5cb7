"""The archive of an account: all that the node holds about it, nothing of anybody else, no secret."""

import json

import aiohttp
import pytest

from tests.support.database_dump import column_names
from tests.support.device_keys import base64_text
from tests.support.full_account import exchange_messages
from tests.support.node_server import NodeServer
from tests.support.rest_device import Body, Device
from vyry.errors import Unavailable
from vyry.storage.account_export_tables import EXPORT_TABLES, EXPORTED_ELSEWHERE, WITHHELD_COLUMNS
from vyry.storage.models import AccountPinRow, OtpChallengeRow, RefreshTokenRow
from web.wire.archive_writer import AccountArchive


async def archive(node_server: NodeServer) -> tuple[Device, Device, Body]:
    """Ann, Bo, and Ann's archive; every answer is held against OpenAPI by the client."""
    ann, bo, _ = await exchange_messages(node_server)
    return ann, bo, await ann.call("GET", "/account/export")


async def test_every_table_and_column_is_told_or_withheld_for_a_reason(node_server: NodeServer) -> None:
    told = {table.model._meta.db_table: {*table.columns, table.owner} for table in EXPORT_TABLES}

    found = {
        f"{table}.{column}"
        for table, names in (await column_names()).items()
        if table not in EXPORTED_ELSEWHERE
        for column in names
        if column not in told.get(table, ())
        and column not in WITHHELD_COLUMNS
        and f"{table}.{column}" not in WITHHELD_COLUMNS
    }

    # What stands here is new: tell it (vyry/storage/account_export_tables.py, web/wire/archive.py), or say why not.
    assert found == set()
    assert {table.section for table in EXPORT_TABLES} < AccountArchive.model_fields.keys()


async def test_the_archive_tells_of_everything_that_there_is(node_server: NodeServer) -> None:
    ann, bo, told = await archive(node_server)

    assert (told["account"]["userId"], told["account"]["phoneNumber"]) == (ann.user_id, ann.number)
    assert (told["pin"]["misses"], [each["deviceId"] for each in told["devices"]]) == (0, [1, 2])
    empty = {name for name, section in told.items() if section in ([], None)}
    assert empty == set()
    assert [each["userId"] for each in told["conversations"][0]["members"] if each["userId"] != ann.user_id] == [
        bo.user_id
    ]


async def test_waiting_mail_is_there_as_its_device_would_get_it(node_server: NodeServer) -> None:
    _, bo, told = await archive(node_server)

    waiting = [each["entry"]["content"] for each in told["mail"] if "content" in each["entry"]]
    assert waiting.count(base64_text(b"waiting")) == 2
    assert {each["entry"].get("senderId", bo.user_id) for each in told["mail"]} == {bo.user_id}


async def test_posts_are_told_with_what_became_of_them_and_no_more_of_others_than_ever(node_server: NodeServer) -> None:
    _, bo, told = await archive(node_server)

    copies = [copy for each in told["posts"] for copy in each["copies"]]
    states = sorted((copy["userId"], copy.get("deviceId"), copy["state"]) for copy in copies)
    assert states == [(bo.user_id, None, "accepted"), (bo.user_id, None, "delivered")]
    assert sum(each["acknowledged"] for each in told["receipts"]) == 1


async def test_no_secret_stands_in_it(node_server: NodeServer) -> None:
    ann, bo, told = await archive(node_server)
    text = json.dumps(told)

    secrets = {ann.session["refreshToken"], ann.token, bo.number}
    secrets |= {row.hash for row in await RefreshTokenRow.all()}
    secrets |= {base64_text(row.code_hash) for row in await OtpChallengeRow.all()}
    secrets |= {f'"{(await AccountPinRow.get(account_id=ann.user_id)).verifier}"'}
    assert [each for each in secrets if each in text] == []


async def test_taking_it_is_an_event(sqlite_node_server: NodeServer) -> None:
    ann = await sqlite_node_server.node.sign_up()

    await ann.call("GET", "/account/export")

    assert (await ann.call("GET", "/account/events"))["events"][0]["name"] == "exported"


async def test_an_archive_that_fails_midway_breaks_off(
    sqlite_node_server: NodeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, _, _ = await exchange_messages(sqlite_node_server)

    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(sqlite_node_server.services.mail_store, "collect", away)

    url, headers = f"{sqlite_node_server.node.url}/api/v1/account/export", {"Authorization": f"Bearer {ann.token}"}
    async with sqlite_node_server.node.http.get(url, headers=headers) as answer:
        assert answer.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await answer.read()
