"""The workers and partitions as the database shows them, for the operator's page and the metrics of every process. At most one query a second."""

import asyncio
import time
from contextlib import suppress
from typing import Final, Protocol

from vyry.errors import Unavailable
from vyry.mail.partitions import Cluster
from vyry.telemetry import OLDEST_UNDEPOSITED, PARTITION_GAUGES, PARTITION_STATE, WORKERS


#: However often the page and the metrics are requested, the database is read once in this time.
CACHE_SECONDS: Final = 1.0


class ClusterSource(Protocol):
    """What reads the database."""

    async def read_cluster(self) -> Cluster:
        """All workers and partitions. Raises Unavailable."""
        ...


class ClusterWatch:
    """The cluster, at most a second old. While the database is down the metrics keep their last values."""

    def __init__(self, source: ClusterSource) -> None:
        self._source = source
        self._found: Cluster | None = None
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def read(self) -> Cluster:
        """The workers and partitions. Raises Unavailable while the database is down."""
        async with self._turn:
            if self._found is None or time.monotonic() >= self._until:
                # A failure is not answered with what was true before it.
                self._found = None
                self._found = await self._source.read_cluster()
                self._until = time.monotonic() + CACHE_SECONDS
            return self._found

    async def measure(self) -> None:
        """Set the metrics of workers and partitions."""
        with suppress(Unavailable):
            _report(await self.read())


def _report(cluster: Cluster) -> None:
    WORKERS.set(len(cluster.live_workers))
    OLDEST_UNDEPOSITED.set(cluster.oldest_seconds)
    # A partition has one state.
    PARTITION_STATE.clear()
    for each in cluster.partitions:
        PARTITION_STATE.labels(each.number, cluster.state_of(each).value).set(1)
        for name, gauge in PARTITION_GAUGES.items():
            gauge.labels(each.number).set(getattr(each, name))
