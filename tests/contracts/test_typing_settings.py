"""Who has switched typing indicators off, on both databases."""

import pytest

from tests.support.fake_clock import NOON
from vyry.kernel.ids import UserId, new_id
from vyry.storage.blocks import TortoiseBlocks
from vyry.storage.database import open_database
from vyry.storage.models import AccountRow
from vyry.storage.privacy import TortoiseTypingPrivacy


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

        assert await TortoiseTypingPrivacy().filter_hidden(users[0], [*users, UserId(new_id())]) == {users[2]}
        assert await TortoiseTypingPrivacy().filter_hidden(users[0], [users[0]]) == set()


async def test_between_whom_there_is_a_block_neither_is_shown_typing(url: str) -> None:
    ann, bo, cy, dan = (UserId(new_id()) for _ in range(4))
    async with open_database(url):
        for user in (ann, bo, cy, dan):
            account = AccountRow(id=user, phone_hash=user.hex, phone_sealed=b"", created_at=NOON)
            await account.save(force_create=True)
        await TortoiseBlocks().block(ann, bo, NOON)
        await TortoiseBlocks().block(cy, ann, NOON)

        silent = [
            await TortoiseTypingPrivacy().filter_hidden(typist, [ann, bo, cy, dan]) for typist in (ann, bo, cy, dan)
        ]

    assert silent == [{bo, cy}, {ann}, {ann}, set()]
