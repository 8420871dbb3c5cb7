"""Room that posts cannot use for the node's notices, and a share of the room for each sender. Expand-only, so that nodes of the release before go on beside it."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from migrations._room import give_no_room, give_room, keep_wakes, wake_again


class Migration(migrations.Migration):
    """The counters of notices, those of shares, and where notices wait for room."""

    dependencies = [("vyry", "0005_resting_names")]

    initial = False

    operations = [
        ops.RunPython(keep_wakes, wake_again),
        ops.AddField(model_name="MailboxRow", name="notice_entries", field=fields.IntField(db_default=0)),
        ops.AddField(model_name="MailboxRow", name="notice_bytes", field=fields.BigIntField(db_default=0)),
        ops.CreateModel(
            name="HeldNoticeRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("mailbox", fields.BigIntField()),
                (
                    "subject",
                    fields.CharField(
                        description="Its kind and what it is about, of one at most one waits, the newest.",
                        max_length=255,
                    ),
                ),
                ("notice_id", fields.UUIDField(description="The messageId it will have.")),
                ("body", fields.JSONField()),
                (
                    "try_at",
                    fields.DatetimeField(
                        null=True,
                        db_index=True,
                        description="When it is tried again, null until the mailbox has more room for notices than now (a trigger).",
                        auto_now=False,
                        auto_now_add=False,
                    ),
                ),
            ],
            options={
                "table": "held_notice",
                "app": "vyry",
                "unique_together": (("mailbox", "subject"),),
                "pk_attr": "id",
                "table_description": "A notice for which a mailbox had no room, until it has some.",
            },
            bases=["Model"],
        ),
        ops.RunPython(give_room, give_no_room),
    ]
