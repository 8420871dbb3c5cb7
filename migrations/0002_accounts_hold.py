"""Accounts that hold against attackers: expand-only, so that nodes of the release before go on beside it."""

from uuid import uuid4

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index, PartialIndex
from tortoise.migrations import operations as ops

from migrations._hold_triggers import allow_changes, make_append_only, tell_endings, tell_no_endings


class Migration(migrations.Migration):
    """Room for PINs, links, notices in flight, what was sent, what happened."""

    dependencies = [("vyry", "0001_initial")]

    initial = False

    operations = [
        ops.CreateModel(
            name="AccountEventRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("account_id", fields.UUIDField()),
                ("at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
                ("name", fields.CharField(max_length=32)),
                (
                    "device_id",
                    fields.IntField(null=True, description="The number of the device that did it, null for nobody's."),
                ),
                ("detail", fields.JSONField(default=dict, encoder=JSON_DUMPS, decoder=loads)),
            ],
            options={
                "table": "account_event",
                "app": "vyry",
                "indexes": [Index(fields=["account_id", "id"])],
                "pk_attr": "id",
                "table_description": "Something about the security of an account that its owner can read. Rows are never changed; they go with the account.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="AccountPinRow",
            fields=[
                ("account_id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "verifier",
                    fields.CharField(description="The encoded hash, with its parameters and salt.", max_length=200),
                ),
                ("pepper_id", fields.IntField()),
                ("registration_lock", fields.BooleanField(default=False)),
                ("misses", fields.IntField(default=0)),
                ("locked_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("changed_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "account_pin",
                "app": "vyry",
                "pk_attr": "account_id",
                "table_description": "The PIN of an account as an Argon2id hash over its keyed hash, and the tries that were wrong.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="LinkRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("secret_hash", fields.CharField(max_length=64)),
                ("public_key", fields.BinaryField()),
                ("name", fields.CharField(max_length=100)),
                ("platform", fields.CharField(max_length=16)),
                (
                    "requested_from",
                    fields.CharField(
                        description="The network it was asked from, as the approver is shown it.", max_length=64
                    ),
                ),
                (
                    "status",
                    fields.CharField(description="waiting, scanned, approved, rejected, completed.", max_length=16),
                ),
                ("account_id", fields.UUIDField(null=True, db_index=True)),
                ("approver", fields.UUIDField(null=True)),
                (
                    "approver_generation",
                    fields.IntField(
                        null=True, description="The sessions of that device when it scanned, the link ends with them."
                    ),
                ),
                ("approver_public_key", fields.BinaryField(null=True)),
                ("provisioning", fields.BinaryField(null=True, description="Opaque, taken once.")),
                ("token_hash", fields.CharField(null=True, unique=True, max_length=64)),
                ("expires_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "link",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A device that asks to be linked, from its request to its completion. Secrets and tokens are kept as SHA-256 in hex.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="NoticeRow",
            fields=[
                (
                    "id",
                    fields.UUIDField(
                        primary_key=True,
                        default=uuid4,
                        unique=True,
                        db_index=True,
                        description="Is the notice's messageId too: posted twice it is a repeat.",
                    ),
                ),
                ("account_id", fields.UUIDField()),
                (
                    "audience",
                    fields.CharField(
                        description="own (all live devices of the account) or peers (all live devices of those who share a conversation with it).",
                        max_length=8,
                    ),
                ),
                (
                    "without",
                    fields.BigIntField(null=True, description="A device that need not be told: it did it itself."),
                ),
                ("body", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "notice",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A notice on its way into mailboxes, written in the transaction that it tells of, so that a crash loses none.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="OperatorActRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
                ("operator", fields.CharField(max_length=100)),
                ("act", fields.CharField(max_length=32)),
                (
                    "subject",
                    fields.UUIDField(null=True, description="The account it was done to, null for the whole node."),
                ),
                ("reason", fields.CharField(max_length=500)),
            ],
            options={
                "table": "operator_act",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "Something an operator did. Rows are never changed nor deleted: the database itself refuses it.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="OtpBreakerRow",
            fields=[
                ("area", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("until", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "otp_breaker",
                "app": "vyry",
                "pk_attr": "area",
                "table_description": "An area of numbers that is sent no codes for a while, because too few of them were verified.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="OtpSentRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
                ("phone_hash", fields.CharField(max_length=64)),
                ("network", fields.CharField(description="Keyed hashes, in hex.", max_length=64)),
                ("prefix", fields.CharField(max_length=64)),
                ("area", fields.CharField(max_length=64)),
                ("cost", fields.BigIntField(default=0, description="In millionths of the operator's currency.")),
                ("is_verified", fields.BooleanField(default=False)),
            ],
            options={
                "table": "otp_sent",
                "app": "vyry",
                "indexes": [
                    Index(fields=["phone_hash", "at"]),
                    Index(fields=["network", "at"]),
                    Index(fields=["prefix", "at"]),
                    Index(fields=["area", "at"]),
                ],
                "pk_attr": "id",
                "table_description": "One code that was sent: what the limits of numbers, networks and prefixes and the daily spend are counted by, whatever Redis remembers.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PushTargetRow",
            fields=[
                ("device", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("kind", fields.CharField(max_length=16)),
                ("endpoint", fields.CharField(null=True, max_length=2048)),
                ("p256dh", fields.BinaryField(null=True)),
                ("auth", fields.BinaryField(null=True)),
                ("token", fields.CharField(null=True, max_length=4096)),
                ("topic", fields.CharField(null=True, max_length=255)),
            ],
            options={
                "table": "push_target",
                "app": "vyry",
                "pk_attr": "device",
                "table_description": "Where a device wants to be woken (vyry/devices/push.py); it goes with the device.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="RegistrationRow",
            fields=[
                (
                    "token_hash",
                    fields.CharField(
                        primary_key=True,
                        unique=True,
                        db_index=True,
                        description="SHA-256 of the registration token, in hex.",
                        max_length=64,
                    ),
                ),
                ("account_id", fields.UUIDField(db_index=True)),
                ("expires_at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "registration",
                "app": "vyry",
                "pk_attr": "token_hash",
                "table_description": "A number proven by its code that a registration lock keeps from signing up until the PIN is given too.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="WitnessRow",
            fields=[
                ("node", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("mark", fields.UUIDField()),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "witness",
                "app": "vyry",
                "pk_attr": "node",
                "table_description": "A mark that a node also keeps outside the database: when the two differ, the database is older than it was (a restore).",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PepperRow",
            fields=[
                ("id", fields.IntField(generated=False, primary_key=True, unique=True, db_index=True)),
                (
                    "fingerprint",
                    fields.CharField(
                        description="A keyed hash by which nodes tell that they have the same one.", max_length=64
                    ),
                ),
                ("used_from", fields.DatetimeField(auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "pepper",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A pepper that this installation uses, and since when: the newest is in use. A node that lacks one, or has another one under its id, makes nothing.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EndingRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("device", fields.UUIDField(null=True)),
                ("account_id", fields.UUIDField(null=True)),
                ("at", fields.DatetimeField(db_index=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "ending",
                "app": "vyry",
                "pk_attr": "id",
                "table_description": "A device or a whole account whose sessions have ended or may go on again: nodes look at the sockets they hold for it. Written by triggers.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="AccountRow",
            name="deleted_at",
            field=fields.DatetimeField(
                null=True,
                db_index=True,
                description="Set when the owner deleted it: devices and number are gone, the sweeper clears away the rest.",
                auto_now=False,
                auto_now_add=False,
            ),
        ),
        ops.AddField(
            model_name="AccountRow",
            name="pepper_id",
            field=fields.IntField(
                description="Which pepper of the ring the hash and the seal are made under.", db_default=1
            ),
        ),
        ops.AddField(
            model_name="AccountRow",
            name="suspended_at",
            field=fields.DatetimeField(
                null=True,
                description="Set by the operator: no token of the account is good meanwhile, its mailboxes go on.",
                auto_now=False,
                auto_now_add=False,
            ),
        ),
        ops.AddField(
            model_name="DeviceRow",
            name="idle_warned_at",
            field=fields.DatetimeField(
                null=True,
                description="When the device was told that it will end because nobody uses it, null again once it is used.",
                auto_now=False,
                auto_now_add=False,
            ),
        ),
        ops.AddIndex(
            model_name="DeviceRow",
            index=PartialIndex(
                fields=["ended_at", "idle_warned_at", "last_seen_on"],
                name="device_idle",
                condition={"is_primary": False},
            ),
        ),
        ops.RunPython(make_append_only, allow_changes),
        ops.RunPython(tell_endings, tell_no_endings),
    ]
