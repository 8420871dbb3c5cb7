"""Everything of version 1.0: the account-sized tables from the rows, the mail tables and functions from _mail_postgres and _mail_sqlite."""

from uuid import uuid4

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor

from migrations._mail_postgres import CREATE, DROP
from migrations._mail_sqlite import DDL


async def create_mail_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Create what Tortoise has no words for."""
    if editor.DIALECT == "postgres":
        for script in CREATE:
            await editor.client.execute_script(script)
        return
    for statement in DDL:  # one by one: a script would commit what came before it
        await editor.client.execute_query(statement)


async def drop_mail_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo create_mail_tables."""
    if editor.DIALECT == "postgres":
        await editor.client.execute_script(DROP)
        return
    for table in ("fate", "envelope", "content", "message"):
        await editor.client.execute_query(f"DROP TABLE {table}")


class Migration(migrations.Migration):
    """The whole schema of version 1.0."""

    initial = True

    operations = [
        ops.CreateModel(
            name="AccountRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "phone_hash",
                    fields.CharField(unique=True, description="HMAC-SHA-256 under the pepper, as hex.", max_length=64),
                ),
                ("phone_sealed", fields.BinaryField()),
                ("username", fields.CharField(null=True, unique=True, max_length=30)),
                ("display_name", fields.CharField(null=True, max_length=100)),
                ("bio", fields.CharField(null=True, max_length=500)),
                ("picture_attachment_id", fields.UUIDField(null=True)),
                ("sealed_profile", fields.BinaryField(null=True)),
                ("settings", fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
                ("suite", fields.CharField(null=True, max_length=16)),
                ("identity_key", fields.BinaryField(null=True)),
                (
                    "device_list_epoch",
                    fields.IntField(
                        default=1,
                        description="Rises with every change of the set of devices with keys, posts are guarded by it.",
                    ),
                ),
                (
                    "last_device_id",
                    fields.IntField(
                        default=0, description="The last device number given (1..127), 0 before the first."
                    ),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "account",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A person. The number is stored as a keyed hash and sealed, never in clear.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ConversationRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("kind", fields.CharField(max_length=8)),
                ("pair", fields.CharField(null=True, unique=True, max_length=64)),
                ("version", fields.IntField(default=1)),
                ("sealed_info", fields.BinaryField(null=True)),
                ("message_timer_seconds", fields.IntField(null=True)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("last_activity_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "conversation",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A conversation, `pair` (the two ids sorted, as hex) makes a direct one unique.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="DeviceRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("account_id", fields.UUIDField(db_index=True)),
                ("device_id", fields.IntField()),
                ("mailbox", fields.BigIntField(unique=True)),
                ("mailbox_id", fields.UUIDField()),
                (
                    "registration_id",
                    fields.IntField(
                        null=True, description="Null until the device uploaded keys: without keys it is no recipient."
                    ),
                ),
                ("name", fields.CharField(max_length=100)),
                ("platform", fields.CharField(max_length=16)),
                ("is_primary", fields.BooleanField()),
                ("linked_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("last_seen_on", fields.DateField()),
                ("ended_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                (
                    "session_generation",
                    fields.IntField(
                        default=1, description="Named in access tokens: raising it makes all given so far worthless."
                    ),
                ),
            ],
            options={
                "table": "device",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "One device of an account, from sign-up or link to its end, ended rows stay for 30 days.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="KeySetRow",
            fields=[
                ("mailbox", fields.BigIntField(generated=False, primary_key=True, unique=True, db_index=True)),
                ("suite", fields.CharField(max_length=16)),
                ("identity_dh_key", fields.BinaryField(null=True)),
                ("identity_dh_signature", fields.BinaryField(null=True)),
                ("signed_prekey_id", fields.BigIntField()),
                ("signed_prekey", fields.BinaryField()),
                ("signed_prekey_signature", fields.BinaryField()),
                ("signed_prekey_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("pq_last_resort_id", fields.BigIntField()),
                ("pq_last_resort", fields.BinaryField()),
                ("pq_last_resort_signature", fields.BinaryField()),
                ("last_resort_uses", fields.IntField(default=0)),
                (
                    "issued_through_one_time",
                    fields.BigIntField(
                        default=0,
                        description="The highest one-time ids ever handed out (this never goes back), and the highest of the present set or handed out.",
                    ),
                ),
                ("issued_through_pq", fields.BigIntField(default=0)),
                ("uploaded_through_one_time", fields.BigIntField(default=0)),
                ("uploaded_through_pq", fields.BigIntField(default=0)),
                (
                    "is_low_told",
                    fields.BooleanField(
                        default=False,
                        description="Whether the device was told that it runs low, and did not refill since.",
                    ),
                ),
            ],
            options={
                "table": "key_set",
                "app": "vyry",
                "pk_attr": "mailbox",
                "table_description": "The published keys of one device, one-time prekeys aside, keyed by the device's mailbox.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="MailboxRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("mailbox_id", fields.UUIDField(unique=True)),
                ("seq", fields.BigIntField(default=0)),
                ("head", fields.BinaryField()),
                ("acknowledged_seq", fields.BigIntField(default=0)),
                ("acknowledged_head", fields.BinaryField()),
                (
                    "sent_seq",
                    fields.BigIntField(
                        default=0, description="The highest number that was returned by REST or named by a right hello."
                    ),
                ),
                (
                    "mail_entries",
                    fields.IntField(
                        default=0,
                        description="What waits in each lane, tombstones not counted, the caps are held against these.",
                    ),
                ),
                ("mail_bytes", fields.BigIntField(default=0)),
                ("control_entries", fields.IntField(default=0)),
                ("control_bytes", fields.BigIntField(default=0)),
                (
                    "connection",
                    fields.BigIntField(
                        default=0, description="Counts hellos: a socket whose number is lower has been displaced."
                    ),
                ),
                ("is_ended", fields.BooleanField(default=False)),
            ],
            options={
                "table": "mailbox",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "The hot row of one mailbox: counters, chain head, acknowledged point.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="MemberRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("conversation_id", fields.UUIDField()),
                ("account_id", fields.UUIDField(db_index=True)),
                ("role", fields.CharField(max_length=8)),
                ("joined_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "member",
                "app": "vyry",
                "unique_together": (("conversation_id", "account_id"),),
                "pk_attr": "id",
                "table_description": "Who belongs to a conversation.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="OneTimePrekeyRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("mailbox", fields.BigIntField()),
                ("kind", fields.CharField(max_length=2)),
                ("key_id", fields.BigIntField()),
                ("public_key", fields.BinaryField()),
                ("signature", fields.BinaryField(null=True)),
            ],
            options={
                "table": "one_time_prekey",
                "app": "vyry",
                "unique_together": (("mailbox", "kind", "key_id"),),
                "pk_attr": "id",
                "table_description": 'An unused one-time prekey, `kind` is "ec" or "pq". It leaves by one DELETE ... RETURNING.',
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="OtpChallengeRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("phone_hash", fields.CharField(db_index=True, max_length=64)),
                ("phone_sealed", fields.BinaryField()),
                ("purpose", fields.CharField(max_length=16)),
                ("code_hash", fields.BinaryField()),
                ("guesses_left", fields.IntField()),
                ("is_used", fields.BooleanField(default=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "otp_challenge",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A sent one-time code as a keyed hash bound to challenge, number and purpose.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="OtpPaceRow",
            fields=[
                ("phone_hash", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("sent_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "otp_pace",
                "app": "vyry",
                "pk_attr": "phone_hash",
                "table_description": "When a number was last sent a code, whatever for: it paces the next one. Rows older than a day mean nothing.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="RefreshTokenRow",
            fields=[
                ("hash", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("device", fields.UUIDField(db_index=True)),
                ("attempt_id", fields.UUIDField(null=True)),
                ("successor", fields.CharField(null=True, max_length=64)),
                ("used_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
                ("family_ends_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "refresh_token",
                "app": "vyry",
                "pk_attr": "hash",
                "table_description": "A refresh token as its SHA-256 in hex, `successor` is the hash of the token it was exchanged for.",
            },
            bases=["Model"],
        ),
        ops.RunPython(create_mail_tables, drop_mail_tables),
    ]
