"""The places where PINs are hashed: few, bounded, off the event loop."""

import asyncio
import threading
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
from argon2 import extract_parameters

from vyry.accounts.pin import Fit, Guesser
from vyry.adapters.argon import ArgonPins, Cost, _Place
from vyry.errors import RateLimited
from vyry.ids import DeviceId


CHEAP = Cost(memory_kib=8, passes=1)
ANN, BO = (Guesser(UUID(int=number), DeviceId(1)) for number in (1, 2))


async def test_a_verifier_is_argon2id_of_the_price_that_is_promised() -> None:
    async with ArgonPins().place(ANN) as place:
        verifier = await place.make(b"secret")
        fits = [await place.fits(verifier, secret) for secret in (b"secret", b"another")]

    made = extract_parameters(verifier)
    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (made.hash_len, made.salt_len, len(verifier) <= 200) == (32, 16, True)
    assert fits == [Fit.RIGHT, Fit.WRONG]


async def test_two_verifiers_of_one_secret_differ() -> None:
    async with ArgonPins(CHEAP).place(ANN) as place:
        assert await place.make(b"secret") != await place.make(b"secret")


async def test_a_verifier_of_another_price_is_outdated() -> None:
    async with ArgonPins(CHEAP).place(ANN) as place:
        verifier = await place.make(b"secret")

    async with ArgonPins(Cost(memory_kib=16, passes=1)).place(ANN) as place:
        assert await place.fits(verifier, b"secret") is Fit.OUTDATED
        assert await place.fits(verifier, b"another") is Fit.WRONG


async def test_beyond_the_places_a_few_of_each_account_wait_and_the_rest_is_turned_away_at_once() -> None:
    hasher = ArgonPins(CHEAP, threads=2, each=3)
    came: list[Guesser] = []

    async def come(guesser: Guesser) -> None:
        async with hasher.place(guesser):
            came.append(guesser)

    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(hasher.place(ANN))
        waiting = [asyncio.create_task(come(guesser)) for guesser in (ANN, ANN, ANN, BO)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited):
            await come(ANN)
        assert came == []
    await asyncio.gather(*waiting)

    assert came == [ANN, BO, ANN, ANN]


async def test_a_registration_lock_has_a_place_while_all_others_are_taken() -> None:
    hasher = ArgonPins(CHEAP, threads=2, accounts=0)

    async with hasher.place(ANN), hasher.place(BO), hasher.place(Guesser(ANN.account_id)) as place:
        assert await place.make(b"secret")


async def test_hashing_leaves_the_event_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, threads = threading.Event(), set[str]()

    def held(self: _Place, verifier: str, secret: bytes) -> Fit:
        assert self is not None
        threads.add(threading.current_thread().name)
        assert may_end.wait(30)
        return Fit.RIGHT if verifier and secret else Fit.WRONG

    monkeypatch.setattr(_Place, "_fits", held)
    hasher = ArgonPins(CHEAP)
    async with hasher.place(ANN) as one, hasher.place(ANN) as other:
        judged = [asyncio.create_task(place.fits("v", b"s")) for place in (one, other)]
        ticks = [await asyncio.sleep(0, number) for number in range(100)]
        assert not any(task.done() for task in judged)
        may_end.set()
        outcomes = await asyncio.gather(*judged)

    assert outcomes == [Fit.RIGHT] * 2
    assert all(name.startswith("argon") for name in threads)
    assert len(ticks) == 100
