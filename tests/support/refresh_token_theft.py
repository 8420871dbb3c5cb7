"""A thief copies refresh tokens at any moment, and loses or repeats answers as a victim does: what both do to any store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from uuid import UUID, uuid4

from hypothesis import strategies as st

from tests.fakes.accounts import MemorySessions
from tests.support.account_harness import WEEK, AccountStores
from tests.support.fake_clock import NOON
from vyry.accounts.sessions import Rotated, Rotation, SessionStore
from vyry.storage.models import RefreshTokenRow


TheftStep = tuple[str, bool, int]


@dataclass
class TokenHolder:
    """Somebody with a token, who repeats an attempt whose answer got lost."""

    token: str
    attempt: UUID = field(default_factory=uuid4)

    def copy_token(self, other: "TokenHolder") -> None:
        """Copy the token, but not the attempt: that is chosen anew by whoever asks."""
        self.token, self.attempt = other.token, uuid4()

    async def refresh_session(self, sessions: SessionStore, at: int, *, is_answer_lost: bool) -> None:
        """One attempt, `at` seconds after noon."""
        rotation = Rotation(self.token, uuid4().hex, self.attempt, NOON + timedelta(seconds=at), WEEK)
        outcome = await sessions.rotate(rotation)
        if isinstance(outcome, Rotated) and not is_answer_lost:
            self.token, self.attempt = rotation.successor, uuid4()


theft_histories: st.SearchStrategy[list[TheftStep]] = st.lists(
    st.tuples(st.sampled_from(["victim", "thief", "steal"]), st.booleans(), st.integers(min_value=0, max_value=40)),
    max_size=30,
)


async def max_live_tokens(history: Sequence[TheftStep], stores: AccountStores, name: str) -> int:
    """The most tokens of one device that lived at once while victim and thief did these."""
    made = await stores.sign_up(sha256(name.encode()).hexdigest(), refresh=name)
    device, seconds, most = stores.last_device, 0, 0
    victim, thief = TokenHolder(name), TokenHolder("guessed")
    for who, is_answer_lost, pause in history:
        seconds += pause
        if who == "steal":
            thief.copy_token(victim)
        else:
            party = victim if who == "victim" else thief
            await party.refresh_session(stores.sessions, seconds, is_answer_lost=is_answer_lost)
        most = max(most, await count_live_tokens(stores.sessions, device))
    assert made.is_new_user
    return most


async def count_live_tokens(sessions: SessionStore, device: UUID) -> int:
    """How many tokens of the device are unused."""
    if isinstance(sessions, MemorySessions):
        return sum(token.used_at is None and token.device == device for token in sessions._ledger.tokens.values())
    return await RefreshTokenRow.filter(device=device, used_at=None).count()
