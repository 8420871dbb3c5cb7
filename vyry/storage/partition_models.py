"""Tortoise models: workers, partitions, their map, and the plans and history of operators."""

from typing import Any

from tortoise import fields
from tortoise.models import Model


class WorkerRow(Model):
    """A worker process. It writes its row every second and deletes it at a clean stop, so the row of a lost worker stays."""

    name = fields.CharField(max_length=64, primary_key=True)
    host = fields.CharField(max_length=255)
    version = fields.CharField(max_length=32)
    #: The process: a worker of this name with another one is refused while this one lives.
    boot = fields.UUIDField()
    started_at = fields.DatetimeField()
    heartbeat_at = fields.DatetimeField()
    #: The share of one core, and the resident memory.
    cpu = fields.FloatField()
    memory_bytes = fields.BigIntField()
    #: Set by the operator: the worker gives up its partitions.
    is_draining = fields.BooleanField(db_default=False)

    class Meta:
        table = "workers"


class PartitionRow(Model):
    """A partition: its worker, what the operator wants, and what its worker measured last."""

    number = fields.IntField(primary_key=True, generated=False)
    owner = fields.CharField(max_length=64, null=True)
    assigned_at = fields.DatetimeField(null=True)
    reported_at = fields.DatetimeField(null=True)
    #: The worker where the operator wants it; with `is_pinned` for ever, otherwise until it is there.
    target = fields.CharField(max_length=64, null=True)
    is_pinned = fields.BooleanField(db_default=False)
    records_behind = fields.BigIntField(db_default=0)
    seconds_behind = fields.FloatField(db_default=0.0)
    received_per_second = fields.FloatField(db_default=0.0)
    deposited_per_second = fields.FloatField(db_default=0.0)
    last_record_at = fields.DatetimeField(null=True)
    worst_seconds = fields.FloatField(db_default=0.0)

    class Meta:
        table = "partitions"


class PartitionMapRow(Model):
    """How mailboxes map to partitions: one row."""

    id = fields.IntField(primary_key=True, generated=False)
    #: Rises each time the number of partitions changes.
    generation = fields.IntField()
    partitions = fields.IntField()
    #: The work topic with its prefix.
    topic = fields.CharField(max_length=249)
    changed_at = fields.DatetimeField()

    class Meta:
        table = "partition_map"


class PartitionPlanRow(Model):
    """A plan of an operator (vyry/operator/partitions/model.py)."""

    state_id = fields.CharField(max_length=32, primary_key=True)
    kind = fields.CharField(max_length=16)
    created_at = fields.DatetimeField(db_index=True)
    operator = fields.CharField(max_length=100)
    reason = fields.CharField(max_length=500)
    status = fields.CharField(max_length=16)
    moves: fields.Field[Any] = fields.JSONField()
    #: What the plan saw, and how far it was applied.
    basis: fields.Field[Any] = fields.JSONField()
    progress: fields.Field[Any] = fields.JSONField()

    class Meta:
        table = "partition_plans"


class PartitionHistoryRow(Model):
    """A partition that got another worker, and why."""

    id = fields.BigIntField(primary_key=True)
    at = fields.DatetimeField(db_index=True)
    partition = fields.IntField()
    from_worker = fields.CharField(max_length=64, null=True)
    to_worker = fields.CharField(max_length=64, null=True)
    cause = fields.CharField(max_length=16)
    seconds = fields.FloatField()
    worst_seconds = fields.FloatField()

    class Meta:
        table = "partition_history"
