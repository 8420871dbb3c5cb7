"""Workers without Kafka that follow the wishes of operators: they report and take partitions through the store of real workers, and do nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import uuid4

from vyry.mail.partitions import Cluster, Partition
from vyry.mail.workers import PartitionReport, WorkerIdentity, WorkerReport
from vyry.storage.partitions import PartitionStore
from vyry.storage.workers import TortoiseWorkers


class FollowingWorkers:
    """A group of workers. `holds`: partitions that do not move, whatever is wished; `silent`: workers that report no more."""

    def __init__(self, names: Iterable[str]) -> None:
        self.identities = {
            name: WorkerIdentity(name=name, host="host-1", version="1.0", boot=uuid4()) for name in names
        }
        self.holds: set[int] = set()
        self.silent: set[str] = set()
        #: Every partition with its workers, in order.
        self.path: dict[int, list[str]] = {}
        self._store = TortoiseWorkers()

    async def join(self) -> None:
        """Take the names, and share out the partitions in turn."""
        for identity in self.identities.values():
            assert await self._store.claim(identity) is None
        await self.turn()

    async def run(self) -> None:
        """Follow the wishes until cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(0.05)

    async def turn(self) -> None:
        """One round of reports, and one rebalance if a wish is not fulfilled."""
        cluster = await PartitionStore().read_cluster()
        owners = {each.number: self._owner(each, cluster) for each in cluster.partitions}
        for name, identity in self.identities.items():
            numbers = [number for number, owner in owners.items() if owner == name]
            if name in self.silent:
                continue
            if any(owners[each.number] == name and each.owner != name for each in cluster.partitions):
                await self._store.take(identity, numbers, 0.1)
            reports = [PartitionReport(number=number, deposited_per_second=1.0) for number in numbers]
            await self._store.report(identity, WorkerReport(cpu=0.1, memory_bytes=1 << 20, partitions=reports))
        for number, owner in owners.items():
            if [owner] != self.path.setdefault(number, [])[-1:]:
                self.path[number].append(owner)

    def _owner(self, partition: Partition, cluster: Cluster) -> str:
        draining = {worker.name for worker in cluster.workers if worker.is_draining}
        able = [name for name in self.identities if name not in draining | self.silent]
        if partition.number in self.holds and partition.owner:
            return partition.owner
        if partition.target in able:
            return partition.target
        return partition.owner if partition.owner in able else able[partition.number % len(able)]


@asynccontextmanager
async def open_following_workers(names: Iterable[str]) -> AsyncIterator[FollowingWorkers]:
    """These workers, running while the block lasts."""
    workers = FollowingWorkers(names)
    await workers.join()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(workers.run())
        yield workers
        running.cancel()
