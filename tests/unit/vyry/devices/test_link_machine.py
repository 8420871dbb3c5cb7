"""The link state machine over memory and SQLite finds each planted bug."""

import shutil
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fakes.device_links import MemoryLinks
from tests.support.link_harness import LinkHarness
from tests.support.link_machine import LinkMachine
from vyry.accounts.account import Caller
from vyry.devices.links import Approval, LinkStatus, Scan, ScannedLink


LIVES = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
HUNT = settings(LIVES, max_examples=1500, derandomize=True, database=None, phases=[Phase.generate])


def test_links_in_memory_follow_the_model() -> None:
    run_state_machine_as_test(LinkMachine, settings=LIVES)


def test_links_in_a_file_follow_the_model(sqlite_template: Path, tmp_path: Path) -> None:
    class OnFile(LinkMachine):
        def __init__(self) -> None:
            super().__init__()
            self.url = f"sqlite://{shutil.copy(sqlite_template, tmp_path / 'vyry.db')}"

    run_state_machine_as_test(OnFile, settings=settings(LIVES, max_examples=12))


class ScansForOthers(MemoryLinks):
    async def scan(self, scan: Scan) -> ScannedLink:
        link = self._links[scan.link_id]
        if link.status is LinkStatus.SCANNED:
            link.status = LinkStatus.WAITING
        return await super().scan(scan)


class ApprovesWhatWasRejected(MemoryLinks):
    async def approve(self, approval: Approval) -> None:
        link = self._links[approval.link_id]
        if link.status is LinkStatus.REJECTED:
            link.status = LinkStatus.SCANNED
        await super().approve(approval)


class GivesTwice(MemoryLinks):
    async def claim_provisioning(self, link_id: UUID, token_hash: str, now: datetime) -> bytes | None:
        self._links[link_id].token_hash = None
        self._links[link_id].provisioning = b"sealed"
        return await super().claim_provisioning(link_id, token_hash, now)


class ForgetsTheTime(MemoryLinks):
    async def reject(self, link_id: UUID, by: Caller, now: datetime) -> None:
        await super().reject(link_id, by, min(now, self._links[link_id].request.expires_at.replace(year=2025)))


class ForgetsTheLimit(MemoryLinks):
    def _live_device_ids(self, user_id: UUID, most: int) -> set[int]:
        return super()._live_device_ids(user_id, most + 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "broken", [ScansForOthers, ApprovesWhatWasRejected, GivesTwice, ForgetsTheTime, ForgetsTheLimit]
)
def test_the_machine_finds_each_planted_bug(broken: type[MemoryLinks]) -> None:
    class OverBroken(LinkMachine):
        def plant_bug(self, harness: LinkHarness) -> None:
            ledger, people = harness.links._ledger, harness.links._people  # type: ignore[attr-defined]
            harness.links = broken(ledger, people)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(OverBroken, settings=HUNT)
