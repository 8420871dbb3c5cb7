"""A node whose database does not keep up says so at once, and parts with those who do not listen."""

import asyncio

import pytest

from tests.client import Unclear
from tests.line import Line
from tests.live_house import House
from vyry.mail import posting
from web.live.reader import OVERLOADS


@pytest.fixture
def overloaded(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No post may wait any more."""
    monkeypatch.setattr(posting, "WAITING_POSTS", 0)
    return monkeypatch


async def test_posts_are_refused_by_both_doors_and_taken_again_afterwards(
    small_house: House, overloaded: pytest.MonkeyPatch
) -> None:
    ann, bo, conversation = await small_house.pair()
    line = await Line.live(ann, codec="json")
    body = ann.body_of(conversation, [bo.user_id], b"one too many")

    with pytest.raises(Unclear, match="503"):
        await ann.call("POST", "/messages", body)
    with pytest.raises(Unclear, match="UNAVAILABLE"):
        await line.ask("post", **body)
    overloaded.undo()

    assert (await line.ask("post", **body))["isRepeat"] is False
    await line.close()


async def test_who_goes_on_posting_is_closed(small_house: House, overloaded: pytest.MonkeyPatch) -> None:
    del overloaded
    ann, bo, conversation = await small_house.pair()
    line = await Line.live(ann, codec="json")
    body = ann.body_of(conversation, [bo.user_id], b"one too many")

    for _ in range(OVERLOADS + 1):
        await line.tell("post", **body)

    assert await line.ended() == 4503


async def test_the_bytes_that_wait_are_bounded_too(small_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "WAITING_BYTES", 1)
    ann, bo, conversation = await small_house.pair()
    bodies = [ann.body_of(conversation, [bo.user_id], b"x" * 1000) for _ in range(3)]

    outcomes = await asyncio.gather(*(ann.call("POST", "/messages", body) for body in bodies), return_exceptions=True)
    for body, outcome in zip(bodies, outcomes, strict=True):
        if isinstance(outcome, Unclear):
            await ann.call("POST", "/messages", body)

    office = small_house.services.post_office
    assert (office.is_full, office._waiting_bytes) == (False, 0)
