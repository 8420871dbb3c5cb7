"""Who has written where: receipts and groups depend on it; and invitations of strangers. Expand-only; nodes of the release before go on adding strangers, and of what they take nobody counts as having written."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from migrations._conversation_of_message import forget_conversations, note_conversations


class Migration(migrations.Migration):
    """A mark for each member, the conversation of each message, and invitations into groups."""

    dependencies = [("vyry", "0009_clock")]

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
        ops.CreateModel(
            name="GroupInvitationRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("conversation_id", fields.UUIDField()),
                ("account_id", fields.UUIDField(description="Who invites.", db_index=True)),
                ("to_id", fields.UUIDField(db_index=True)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "group_invitation",
                "app": "vyry",
                "unique_together": (("conversation_id", "to_id"),),
                "pk_attr": "id",
                "table_description": "An admin of a group wants somebody in it who does not know them, until it is accepted or declined.",
            },
            bases=["Model"],
        ),
    ]
