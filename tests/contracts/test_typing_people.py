"""Who has switched typing indicators off, on both databases."""

import pytest

from tests.account_room import NOON
from vyry.adapters.database import open_database
from vyry.adapters.rows import AccountRow
from vyry.adapters.typing_people import TortoiseQuiet
from vyry.ids import UserId, new_id


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


async def test_who_has_not_switched_it_off_is_not_silent(url: str) -> None:
    said: list[dict[str, object]] = [
        {},
        {"typingIndicators": True},
        {"typingIndicators": False},
        {"readReceipts": False},
    ]
    users = [UserId(new_id()) for _ in said]
    async with open_database(url):
        for user, settings in zip(users, said, strict=True):
            account = AccountRow(id=user, phone_hash=user.hex, phone_sealed=b"", created_at=NOON, settings=settings)
            await account.save(force_create=True)

        assert await TortoiseQuiet().silent([*users, UserId(new_id())]) == {users[2]}
        assert await TortoiseQuiet().silent([users[0]]) == set()
