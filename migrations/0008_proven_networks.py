"""Networks from which numbers were proven, the network of a challenge, and the wrong PINs of registration locks apart from those of devices.

Expand-only: nodes of the release before store challenges without a network and count all wrong PINs with those of the devices.
"""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    """A table, and a column or two of two others."""

    dependencies = [("vyry", "0007_notice_turns")]

    initial = False

    operations = [
        ops.CreateModel(
            name="ProvenNetworkRow",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("phone_hash", fields.CharField(max_length=64)),
                ("network", fields.CharField(description="A keyed hash, in hex.", max_length=64)),
                ("proven_on", fields.DateField(db_index=True)),
            ],
            options={
                "table": "proven_network",
                "app": "vyry",
                "unique_together": (("phone_hash", "network"),),
                "pk_attr": "id",
                "table_description": "A network from which a number was proven by its code, and on which day: what others ask for does not keep a code from it.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="OtpChallengeRow",
            name="network",
            field=fields.CharField(
                description="The keyed hash of the network that asked; empty where a node of an older release stored it.",
                max_length=64,
                db_default="",
            ),
        ),
        ops.AddField(
            model_name="AccountPinRow",
            name="lock_misses",
            field=fields.IntField(
                description="Those at the registration lock: who holds the number does not use up the tries of the devices, nor they its.",
                db_default=0,
            ),
        ),
        ops.AddField(
            model_name="AccountPinRow",
            name="lock_locked_until",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
    ]
