"""The slots for hashing PINs: few, with a bounded queue, off the event loop."""

import asyncio
import threading
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
from argon2 import extract_parameters

from vyry.accounts.pin import Guesser, PinMatch
from vyry.errors import RateLimited
from vyry.in_process.pin_hasher import ArgonCost, ArgonPinHasher, _ArgonSlot
from vyry.kernel.ids import DeviceId


CHEAP = ArgonCost(memory_kib=8, iterations=1)
ANN, BO = (Guesser(UUID(int=number), DeviceId(1)) for number in (1, 2))


async def test_a_verifier_is_argon2id_of_the_price_that_is_promised() -> None:
    async with ArgonPinHasher().acquire_slot(ANN) as place:
        verifier = await place.make_verifier(b"secret")
        fits = [await place.match_verifier(verifier, secret) for secret in (b"secret", b"another")]

    made = extract_parameters(verifier)
    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (made.hash_len, made.salt_len, len(verifier) <= 200) == (32, 16, True)
    assert fits == [PinMatch.RIGHT, PinMatch.WRONG]


async def test_two_verifiers_of_one_secret_differ() -> None:
    async with ArgonPinHasher(CHEAP).acquire_slot(ANN) as place:
        assert await place.make_verifier(b"secret") != await place.make_verifier(b"secret")


async def test_a_verifier_of_another_price_is_outdated() -> None:
    async with ArgonPinHasher(CHEAP).acquire_slot(ANN) as place:
        verifier = await place.make_verifier(b"secret")

    async with ArgonPinHasher(ArgonCost(memory_kib=16, iterations=1)).acquire_slot(ANN) as place:
        assert await place.match_verifier(verifier, b"secret") is PinMatch.OUTDATED
        assert await place.match_verifier(verifier, b"another") is PinMatch.WRONG


async def test_beyond_the_places_a_few_of_each_account_wait_and_the_rest_is_turned_away_at_once() -> None:
    hasher = ArgonPinHasher(CHEAP, threads=2, each=3)
    came: list[Guesser] = []

    async def come(guesser: Guesser) -> None:
        async with hasher.acquire_slot(guesser):
            came.append(guesser)

    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(hasher.acquire_slot(ANN))
        waiting = [asyncio.create_task(come(guesser)) for guesser in (ANN, ANN, ANN, BO)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited):
            await come(ANN)
        assert came == []
    await asyncio.gather(*waiting)

    assert came == [ANN, BO, ANN, ANN]


async def test_a_registration_lock_has_a_place_while_all_others_are_taken() -> None:
    hasher = ArgonPinHasher(CHEAP, threads=2, accounts=0)

    async with hasher.acquire_slot(ANN), hasher.acquire_slot(BO), hasher.acquire_slot(Guesser(ANN.account_id)) as place:
        assert await place.make_verifier(b"secret")


async def test_hashing_leaves_the_event_loop_free(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, threads = threading.Event(), set[str]()

    def held(self: _ArgonSlot, verifier: str, secret: bytes) -> PinMatch:
        assert self is not None
        threads.add(threading.current_thread().name)
        assert may_end.wait(30)
        return PinMatch.RIGHT if verifier and secret else PinMatch.WRONG

    monkeypatch.setattr(_ArgonSlot, "_verify", held)
    hasher = ArgonPinHasher(CHEAP)
    async with hasher.acquire_slot(ANN) as one, hasher.acquire_slot(ANN) as other:
        judged = [asyncio.create_task(place.match_verifier("v", b"s")) for place in (one, other)]
        ticks = [await asyncio.sleep(0, number) for number in range(100)]
        assert not any(task.done() for task in judged)
        may_end.set()
        outcomes = await asyncio.gather(*judged)

    assert outcomes == [PinMatch.RIGHT] * 2
    assert all(name.startswith("argon") for name in threads)
    assert len(ticks) == 100
