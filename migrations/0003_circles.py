"""What people share: friends, blocks, invites, files, calls, wake-ups. Expand-only, so that nodes of the release before go on beside it."""

from uuid import uuid4

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from migrations._deposit_postgres import deposit_as_before, deposit_straight
from migrations._push_triggers import plan_no_wakes, plan_wakes


class Migration(migrations.Migration):
    """Room for them."""

    dependencies = [("vyry", "0002_accounts_hold")]

    initial = False

    operations = [
        ops.CreateModel(
            name="AttachmentRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "account_id",
                    fields.UUIDField(
                        null=True,
                        db_index=True,
                        description="Nobody's, once the account is gone: it is over then, and goes with its bytes.",
                    ),
                ),
                (
                    "length",
                    fields.BigIntField(
                        description="As announced, in bytes: it counts against the quota from the start."
                    ),
                ),
                (
                    "received",
                    fields.BigIntField(
                        default=0, description="How much of it is safe in the store: what its parts hold."
                    ),
                ),
                (
                    "parts",
                    fields.TextField(
                        default="",
                        unique=False,
                        description="NAME:LENGTH of each part of the store that counts, in order, with blanks between.",
                    ),
                ),
                (
                    "writer",
                    fields.IntField(
                        default=0,
                        description="How many have begun to write; only what the last of them adds counts.",
                    ),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("completed_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "attachment",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "An uploaded file of ciphertext, or one on its way; the bytes lie in the attachment store.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="BlockRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("account_id", fields.UUIDField()),
                ("blocked_id", fields.UUIDField(db_index=True)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "block",
                "app": "vyry",
                "unique_together": (("account_id", "blocked_id"),),
                "pk_attr": "id",
                "table_description": "To the one that is blocked, the account does not exist.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="CallRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("call_id", fields.UUIDField()),
                ("account_id", fields.UUIDField(db_index=True, description="Who calls.")),
                ("to_id", fields.UUIDField(db_index=True)),
                ("device_id", fields.IntField(description="The device that calls.")),
                (
                    "taken_by",
                    fields.IntField(null=True, description="The device that took it; 0 when it is over unanswered."),
                ),
                ("at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "call",
                "app": "vyry",
                "unique_together": (("account_id", "to_id", "call_id"),),
                "pk_attr": "id",
                "table_description": "A call that rings: what tells the people called that nobody answered.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="FriendRequestRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("account_id", fields.UUIDField()),
                ("to_id", fields.UUIDField(db_index=True)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "friend_request",
                "app": "vyry",
                "unique_together": (("account_id", "to_id"),),
                "pk_attr": "id",
                "table_description": "Somebody asks to be somebody's friend, until it is answered or withdrawn.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="FriendRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("account_id", fields.UUIDField()),
                ("friend_id", fields.UUIDField(db_index=True)),
                ("since", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "friend",
                "app": "vyry",
                "unique_together": (("account_id", "friend_id"),),
                "pk_attr": "id",
                "table_description": "One side of a friendship, the other side is a row of its own.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="InviteRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("conversation_id", fields.UUIDField(db_index=True)),
                ("account_id", fields.UUIDField(db_index=True, description="Who made it.")),
                ("token_hash", fields.CharField(unique=True, max_length=64)),
                ("max_uses", fields.IntField()),
                ("uses", fields.IntField(default=0)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "invite",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A way into a group for whoever has its token, which is kept as SHA-256 in hex.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PushWakeRow",
            fields=[
                ("device", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("mailbox", fields.BigIntField(db_index=True)),
                (
                    "due_at",
                    fields.DatetimeField(
                        null=True,
                        db_index=True,
                        description="When it is to be sent, or sent again by somebody else if who took it up does not report, null while nothing is to be sent.",
                        auto_now=False,
                        auto_now_add=False,
                    ),
                ),
                ("is_urgent", fields.BooleanField(db_default=True)),
                (
                    "is_ring",
                    fields.BooleanField(description="Something rings: sent even if no mail waits.", db_default=False),
                ),
                (
                    "acknowledged_seq",
                    fields.BigIntField(
                        description="What the device had acknowledged when this was planned, if it is more now the device is awake.",
                        db_default=0,
                    ),
                ),
                (
                    "seq",
                    fields.BigIntField(
                        description="The last number in the mailbox when it was taken up.", db_default=0
                    ),
                ),
                (
                    "wakes",
                    fields.IntField(
                        description="How often it was woken since it was last heard, and how often the present wake-up was tried.",
                        db_default=0,
                    ),
                ),
                ("attempts", fields.IntField(db_default=0)),
                (
                    "rest_until",
                    fields.DatetimeField(
                        null=True,
                        description="New mail does not wake it again before.",
                        auto_now=False,
                        auto_now_add=False,
                    ),
                ),
                ("sent_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "push_wake",
                "app": "vyry",
                "pk_attr": "device",
                "table_description": "The wake-ups of a device, planned with the deposit of the mail that it is woken for (a trigger), so that a crash loses none.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="MailboxRow",
            name="is_pushed",
            field=fields.BooleanField(
                description="Whether its device has a push target: only then a deposit plans a wake-up.",
                db_default=False,
            ),
        ),
        ops.AddField(
            model_name="NoticeRow",
            name="conversation_id",
            field=fields.UUIDField(
                null=True,
                db_index=True,
                description="The conversation that it tells of (audience members: all live devices of its members), of one at most one waits, the newest.",
            ),
        ),
        ops.RunPython(plan_wakes, plan_no_wakes),
        ops.RunPython(deposit_straight, deposit_as_before),
    ]
