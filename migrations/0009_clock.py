"""The store keeps the latest moment that a node confirmed. Expand-only; nodes of the release before neither write nor read it."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    """A table of one row."""

    dependencies = [("vyry", "0008_proven_networks")]

    initial = False

    operations = [
        ops.CreateModel(
            name="ClockRow",
            fields=[
                ("id", fields.IntField(generated=False, primary_key=True, unique=True, db_index=True)),
                ("seen_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("claimed_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "clock",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "The latest moment that any node confirmed, in one row, and what a clock in doubt says meanwhile.",
            },
            bases=["Model"],
        ),
    ]
