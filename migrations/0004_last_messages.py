"""The last message accepted from each device can be told. Expand-only, so that nodes of the release before go on beside it."""

from tortoise import migrations
from tortoise.migrations import operations as ops

from migrations._last_message import forget_order, order_messages


class Migration(migrations.Migration):
    """An order of the messages of a device."""

    dependencies = [("vyry", "0003_circles")]

    initial = False

    operations = [ops.RunPython(order_messages, forget_order)]
