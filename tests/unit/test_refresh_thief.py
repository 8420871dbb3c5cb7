"""A thief copies refresh tokens at any moment; whatever the two do, at most one of them has a living token."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from tests.account_room import NOON, WEEK, hidden
from vyry.accounts.account import NewDevice, Platform
from vyry.accounts.sessions import Rotated, Rotation
from vyry.adapters.memory_accounts import AccountLedger, MemoryAccounts, MemorySessions
from vyry.ids import MailboxId, new_id


@dataclass
class Party:
    """Somebody with a token, who repeats an attempt whose answer got lost."""

    token: str
    attempt: UUID = field(default_factory=uuid4)

    def steal(self, other: "Party") -> None:
        """Copy the token, but not the attempt: that is chosen anew by whoever asks."""
        self.token, self.attempt = other.token, uuid4()

    async def refresh(self, sessions: MemorySessions, at: int, *, is_answer_lost: bool) -> None:
        """One attempt, `at` seconds after noon."""
        rotation = Rotation(self.token, uuid4().hex, self.attempt, NOON + timedelta(seconds=at), WEEK)
        outcome = await sessions.rotate(rotation)
        if isinstance(outcome, Rotated) and not is_answer_lost:
            self.token, self.attempt = rotation.successor, uuid4()


moves = st.lists(
    st.tuples(st.sampled_from(["victim", "thief", "steal"]), st.booleans(), st.integers(min_value=0, max_value=40)),
    max_size=30,
)


@given(moves)
def test_at_most_one_token_lives_whatever_victim_and_thief_do(history: list[tuple[str, bool, int]]) -> None:
    asyncio.run(play(history))


async def play(history: list[tuple[str, bool, int]]) -> None:
    ledger = AccountLedger()
    device = NewDevice(
        new_id(), MailboxId(new_id()), "x", Platform.CLI, "first", NOON + WEEK, NOON + timedelta(days=30)
    )
    await MemoryAccounts(ledger).sign_up(hidden(), device, NOON)
    sessions, seconds = MemorySessions(ledger), 0
    victim, thief = Party("first"), Party("guessed")

    for who, is_answer_lost, pause in history:
        seconds += pause
        if who == "steal":
            thief.steal(victim)
        else:
            party = victim if who == "victim" else thief
            await party.refresh(sessions, seconds, is_answer_lost=is_answer_lost)

        living = [name for name, token in ledger.tokens.items() if token.used_at is None]
        assert len(living) <= 1
