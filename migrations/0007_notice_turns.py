"""Notices are posted in turns between those who caused them. Expand-only; nodes of the release before post the oldest first and cause no notice for others."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    """Who caused a notice, and an index to find those of one account."""

    dependencies = [("vyry", "0006_room")]

    initial = False

    operations = [
        ops.AddField(
            model_name="NoticeRow",
            name="caused_by",
            field=fields.UUIDField(
                null=True,
                description="In whose turn it is posted: another account than the one it is for, or the conversation whose change it tells of; null for the account itself.",
            ),
        ),
        ops.AddIndex(model_name="NoticeRow", index=Index(fields=["account_id"])),
    ]
