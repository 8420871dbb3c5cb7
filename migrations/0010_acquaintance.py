"""Who has written where: receipts and groups depend on it. Expand-only; of what nodes of the release before take, nobody counts as having written."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from migrations._conversation_of_message import forget_conversations, note_conversations


class Migration(migrations.Migration):
    """A mark for each member, and the conversation of each message."""

    dependencies = [("vyry", "0005_resting_names")]

    initial = False

    operations = [
        ops.AddField(
            model_name="MemberRow",
            name="has_written",
            field=fields.BooleanField(
                description="Whether the account has posted there, to somebody else, in the lane of mail.",
                db_default=False,
            ),
        ),
        ops.RunPython(note_conversations, forget_conversations),
    ]
