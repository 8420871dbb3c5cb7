"""The tables that tell of the node itself and of nobody, as Tortoise models."""

from tortoise import fields
from tortoise.models import Model


class ClockRow(Model):
    """The latest moment that any node confirmed, in one row, and what a clock in doubt says meanwhile."""

    id = fields.IntField(primary_key=True, generated=False)
    seen_at = fields.DatetimeField()
    claimed_at = fields.DatetimeField(null=True)

    class Meta:
        table = "clock"
