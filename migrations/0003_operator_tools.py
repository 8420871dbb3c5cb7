"""Announcements, and what push services said last: two new tables that no older node reads."""

from pathlib import Path
from typing import Final

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor


#: The step before this one.
PREVIOUS: Final = "0002_partitions"
_DROP: Final = """
DROP TABLE announcement;
DROP TABLE push_report;
"""


async def create_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Create the tables."""
    await editor.client.execute_script(
        Path(__file__).with_name(f"0003_{editor.DIALECT}.sql").read_text(encoding="utf-8")
    )


async def drop_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo create_tables."""
    await editor.client.execute_script(_DROP)


class Migration(migrations.Migration):
    """The third step."""

    dependencies = [("vyry", PREVIOUS)]

    operations = [ops.RunPython(create_tables, drop_tables)]
