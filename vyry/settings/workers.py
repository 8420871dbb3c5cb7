"""The settings of workers and of their Kafka topic."""

from pydantic import Field
from pydantic_settings import BaseSettings

from vyry.settings.types import ProcessName


class WorkerSettings(BaseSettings):
    """The work topic, and the name of a worker."""

    #: Partitions of a new topic; `vyry partitions plan grow` adds some to one that exists.
    partitions: int = Field(4, ge=1, le=1024)
    #: Copies of each partition of a new topic; None: one on each broker, at most three.
    kafka_replication: int | None = Field(None, ge=1, le=32)
    #: The name of a worker: unique, and the same after a restart. None: host and number.
    worker_name: ProcessName | None = None
