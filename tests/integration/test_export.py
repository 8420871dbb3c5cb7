"""The archive of an account: all that the node holds about it, nothing of anybody else, no secret."""

import json

import aiohttp
import pytest

from tests.all_rows import columns
from tests.client import Body, Device
from tests.device_keys import base64_text
from tests.full_account import talk
from tests.live_house import House
from vyry.adapters.archive_tables import ELSEWHERE, TABLES, WITHHELD
from vyry.adapters.rows import AccountPinRow, OtpChallengeRow, RefreshTokenRow
from vyry.errors import Unavailable
from web.wire.export import AccountArchive


async def archive(house: House) -> tuple[Device, Device, Body]:
    """Ann, Bo, and Ann's archive; every answer is held against OpenAPI by the client."""
    ann, bo, _ = await talk(house)
    return ann, bo, await ann.call("GET", "/account/export")


async def test_every_table_and_column_is_told_or_withheld_for_a_reason(house: House) -> None:
    told = {table.rows._meta.db_table: {*table.columns, table.owner} for table in TABLES}

    found = {
        f"{table}.{column}"
        for table, names in (await columns()).items()
        if table not in ELSEWHERE
        for column in names
        if column not in told.get(table, ()) and column not in WITHHELD and f"{table}.{column}" not in WITHHELD
    }

    # What stands here is new: tell it (vyry/adapters/archive_tables.py, web/wire/export.py), or say why not.
    assert found == set()
    assert {table.section for table in TABLES} < AccountArchive.model_fields.keys()


async def test_the_archive_tells_of_everything_that_there_is(house: House) -> None:
    ann, bo, told = await archive(house)

    assert (told["account"]["userId"], told["account"]["phoneNumber"]) == (ann.user_id, ann.number)
    assert (told["pin"]["misses"], [each["deviceId"] for each in told["devices"]]) == (0, [1, 2])
    empty = {name for name, section in told.items() if section in ([], None)}
    assert empty == set()
    assert [each["userId"] for each in told["conversations"][0]["members"] if each["userId"] != ann.user_id] == [
        bo.user_id
    ]


async def test_waiting_mail_is_there_as_its_device_would_get_it(house: House) -> None:
    _, bo, told = await archive(house)

    waiting = [each["entry"]["content"] for each in told["mail"] if "content" in each["entry"]]
    assert waiting.count(base64_text(b"waiting")) == 2
    assert {each["entry"].get("senderId", bo.user_id) for each in told["mail"]} == {bo.user_id}


async def test_posts_are_told_with_what_became_of_them_and_no_more_of_others_than_ever(house: House) -> None:
    _, bo, told = await archive(house)

    copies = [copy for each in told["posts"] for copy in each["copies"]]
    states = sorted((copy["userId"], copy.get("deviceId"), copy["state"]) for copy in copies)
    assert states == [(bo.user_id, None, "accepted"), (bo.user_id, None, "delivered")]
    assert sum(each["acknowledged"] for each in told["receipts"]) == 1


async def test_no_secret_stands_in_it(house: House) -> None:
    ann, bo, told = await archive(house)
    text = json.dumps(told)

    secrets = {ann.session["refreshToken"], ann.token, bo.number}
    secrets |= {row.hash for row in await RefreshTokenRow.all()}
    secrets |= {base64_text(row.code_hash) for row in await OtpChallengeRow.all()}
    secrets |= {f'"{(await AccountPinRow.get(account_id=ann.user_id)).verifier}"'}
    assert [each for each in secrets if each in text] == []


async def test_taking_it_is_an_event(small_house: House) -> None:
    ann = await small_house.node.sign_up()

    await ann.call("GET", "/account/export")

    assert (await ann.call("GET", "/account/events"))["events"][0]["name"] == "exported"


async def test_an_archive_that_fails_midway_breaks_off(small_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, _, _ = await talk(small_house)

    async def away(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(small_house.services.mail_store, "collect", away)

    url, headers = f"{small_house.node.url}/api/v1/account/export", {"Authorization": f"Bearer {ann.token}"}
    async with small_house.node.http.get(url, headers=headers) as answer:
        assert answer.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await answer.read()
