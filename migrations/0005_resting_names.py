"""Usernames that were given up rest for a while. Expand-only; nodes of the release before neither let names rest nor ask whether one does."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    """A table of them."""

    dependencies = [("vyry", "0004_last_messages")]

    initial = False

    operations = [
        ops.CreateModel(
            name="RestingNameRow",
            fields=[
                ("hash", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("account_id", fields.UUIDField(null=True, db_index=True)),
                ("free_on", fields.DateField(db_index=True)),
            ],
            options={
                "table": "resting_name",
                "app": "vyry",
                "pk_attr": "hash",
                "table_description": "A username that was given up, as its hash: nobody but this account can take it before that day, and nobody at all when the account is gone.",
            },
            bases=["Model"],
        ),
    ]
