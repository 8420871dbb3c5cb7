"""State machine: after any uploads, refills and claims no key was claimed twice, and the reported state is right."""

import asyncio
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.directory_harness import IDENTITY, NOON, MemoryDirectory, claimed_key_ids, make_refill, make_upload
from vyry.accounts.account import Caller
from vyry.devices.keyset import KeyState
from vyry.errors import InvalidKeys
from vyry.kernel.ids import MailboxKey


FIRST = st.integers(1, 40)
COUNT = st.integers(0, 6)


class PrekeyMachine(RuleBasedStateMachine):
    """A directory with one owner and many claimers, and the keys claimed so far."""

    bo: Caller

    @initialize()
    def publish(self) -> None:
        self.harness = MemoryDirectory()
        self.given: list[int] = []
        self.pq_given: list[int] = []
        self.resorts = 0
        self.bo = asyncio.run(self._sign_up())

    async def _sign_up(self) -> Caller:
        bo = await self.harness.add_device(await self.harness.add_account())
        await self.harness.prekeys.replace(bo, make_upload(), NOON)
        return bo

    @rule(first=FIRST, count=COUNT, pq_first=FIRST, pq_count=COUNT)
    def replace(self, first: int, count: int, pq_first: int, pq_count: int) -> None:
        whole = make_upload(range(first, first + count), range(pq_first, pq_first + pq_count))
        with suppress(InvalidKeys):
            asyncio.run(self.harness.prekeys.replace(self.bo, whole, NOON))

    @rule(first=FIRST, count=COUNT, pq_first=FIRST, pq_count=COUNT)
    def add(self, first: int, count: int, pq_first: int, pq_count: int) -> None:
        more = make_refill(range(first, first + count), range(pq_first, pq_first + pq_count))
        with suppress(InvalidKeys):
            asyncio.run(self.harness.prekeys.refill(self.bo, IDENTITY, more, NOON))

    @rule(takers=st.integers(1, 5))
    def take(self, takers: int) -> None:
        before = self._state()
        claims = [asyncio.run(self.harness.prekeys.claim(self.bo.user_id, None, MailboxKey(0))) for _ in range(takers)]

        one_time, pq = claimed_key_ids(claims)
        assert one_time == [key.id for key in before.one_time[:takers]]
        assert pq == [key.id for key in before.pq[:takers]]
        self.given += one_time
        self.pq_given += pq
        self.resorts += takers - len(pq)

    @invariant()
    def nothing_is_given_twice(self) -> None:
        assert self.given == sorted(set(self.given))
        assert self.pq_given == sorted(set(self.pq_given))

    @invariant()
    def what_is_shown_is_what_is_left(self) -> None:
        state = self._state()
        assert not {key.id for key in state.one_time} & set(self.given)
        assert not {key.id for key in state.pq} & set(self.pq_given)
        assert state.issued_through.one_time == max(self.given, default=0)
        assert state.issued_through.pq == max(self.pq_given, default=0)
        assert state.last_resort_uses == self.resorts

    def _state(self) -> KeyState:
        state = asyncio.run(self.harness.prekeys.state(self.bo.mailbox))
        assert state
        return state


TestPrekeyMachine = PrekeyMachine.TestCase
TestPrekeyMachine.settings = settings(max_examples=60, stateful_step_count=25)
