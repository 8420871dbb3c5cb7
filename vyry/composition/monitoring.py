"""The operator's listener of a process, and which queues, pools and folders its metrics show."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from vyry.accounts.pin import CountedHasher
from vyry.composition.services import Services
from vyry.composition.shared import attachments_folder
from vyry.in_process.pin_hasher import ArgonPinHasher
from vyry.in_process.routing import InProcessWorkTopic
from vyry.kafka.work_topic import KafkaWorkTopic
from vyry.mail.hellos import MAX_WAITING
from vyry.mail.posting import MAX_PENDING_POSTS
from vyry.operator.admin_server import AdminSources, Explain, serve_admin
from vyry.operator.cluster_watch import ClusterWatch
from vyry.operator.saturation import Queue, Saturation
from vyry.redis.notifier import MAX_PENDING, RedisNotifier
from vyry.settings.settings import Settings
from vyry.storage.database import pool_load
from vyry.storage.partitions import PartitionStore


_LIMITS: Final = {"post": MAX_PENDING_POSTS, "notify": MAX_PENDING, "hello": MAX_WAITING}


def serve_admin_listener(
    settings: Settings, services: Services, sockets: Mapping[str, Queue] | None = None, explain: Explain | None = None
) -> AbstractAsyncContextManager[int]:
    """Serve metrics, readiness and the page of this process while the block lasts; yields the port. `sockets` are the queues of the web application."""
    sources = AdminSources(
        health=services.health,
        saturation=build_saturation(settings, services, sockets or {}),
        cluster=ClusterWatch(PartitionStore()),
        explain=explain,
    )
    return serve_admin(settings.admin_host, settings.admin_port, sources, settings.admin_token)


class _PendingHints:
    """The hints of a notifier as a queue."""

    def __init__(self, notifier: RedisNotifier) -> None:
        self._notifier = notifier

    @property
    def depth(self) -> int:
        """The mailboxes whose hints wait."""
        return len(self._notifier.pending)


def build_saturation(settings: Settings, services: Services, sockets: Mapping[str, Queue]) -> Saturation:
    """What a scrape measures of the queues, pools and folders of this process."""
    queues: dict[str, Queue] = {
        "post": services.posting,
        "deposit": services.depositor,
        "acknowledge": services.mailboxes,
        **sockets,
    }
    if isinstance(services.work_topic, KafkaWorkTopic | InProcessWorkTopic):
        queues["route"] = services.work_topic
    if isinstance(services.notifier, RedisNotifier):
        queues["notify"] = _PendingHints(services.notifier)
    folders = {"data": settings.data_dir}
    if settings.bucket is None:
        folders["attachments"] = attachments_folder(settings)
    return Saturation(
        queues=queues,
        limits={name: limit for name, limit in _LIMITS.items() if name in queues},
        pools=_pools(services),
        folders=folders,
    )


def _pools(services: Services) -> Mapping[str, Callable[[], tuple[int, int, int]]]:
    counted, transfers = services.pins.hasher, services.attachments.service
    pools: dict[str, Callable[[], tuple[int, int, int]]] = {
        "database": pool_load,
        "upload": lambda: transfers.uploads.load,
        "download": lambda: transfers.downloads.load,
    }
    if isinstance(counted, CountedHasher) and isinstance(counted.hasher, ArgonPinHasher):
        hasher = counted.hasher
        pools |= {"pin": lambda: hasher.loads[0], "pin_lock": lambda: hasher.loads[1]}
    return pools
