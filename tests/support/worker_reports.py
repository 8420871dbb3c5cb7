"""Workers of a cluster as their processes write them into the database."""

from uuid import uuid4

from vyry.mail.workers import PartitionReport, WorkerIdentity, WorkerReport
from vyry.storage.partitions import PartitionStore
from vyry.storage.workers import TortoiseWorkers


class ReportingWorker:
    """A worker that reports when the test says so."""

    def __init__(self, name: str, host: str = "host-1") -> None:
        self.identity = WorkerIdentity(name=name, host=host, version="1.0.0", boot=uuid4())
        self._store = TortoiseWorkers()

    async def join(self, *partitions: int) -> None:
        """Take the name and these partitions."""
        await PartitionStore().create_map(4, "vyry-mailbags")
        assert await self._store.claim(self.identity) is None
        await self.take(*partitions)

    async def take(self, *partitions: int) -> None:
        """Have exactly these partitions, and report them."""
        await self._store.take(self.identity, partitions, 0.1)
        await self.report(*(PartitionReport(number=number, idle_seconds=0.0) for number in partitions))

    async def report(self, *partitions: PartitionReport) -> None:
        """Write a heartbeat."""
        report = WorkerReport(cpu=0.25, memory_bytes=64 << 20, partitions=partitions)
        assert await self._store.report(self.identity, report)
