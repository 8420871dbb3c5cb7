"""Several Kafka brokers on this machine, for tests that take one away. Each is a `Server` of its own: it may be stopped, killed and started again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from scripts.services import Kafka


class KafkaCluster:
    """Brokers that are controllers too: of three, one may be away."""

    def __init__(self, brokers: int = 3) -> None:
        self.brokers = [Kafka(node) for node in range(1, brokers + 1)]
        for each in self.brokers:
            each.quorum, each.cluster = self.brokers, self.brokers[0].cluster

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def url(self) -> str:
        """All brokers."""
        return "kafka://" + ",".join(f"127.0.0.1:{each.port}" for each in self.brokers)

    def start(self) -> None:
        """Come back when all answer. A broker answers only after most controllers have started, so they start at once."""
        self._all(Kafka.start)

    def stop(self) -> None:
        """End all; their data stays."""
        self._all(Kafka.stop)

    def remove(self) -> None:
        """End all and forget their data."""
        self._all(Kafka.remove)

    def _all(self, act: Callable[[Kafka], None]) -> None:
        with ThreadPoolExecutor(max_workers=len(self.brokers)) as pool:
            for done in [pool.submit(act, each) for each in self.brokers]:
                done.result()
