"""Workers, partitions, their map, and the plans and history of operators: five new tables that no older node reads."""

from pathlib import Path
from typing import Final

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor


_DROP: Final = """
DROP TABLE partition_history;
DROP TABLE partition_plans;
DROP TABLE partition_map;
DROP TABLE partitions;
DROP TABLE workers;
"""


async def create_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Create the tables."""
    await editor.client.execute_script(
        Path(__file__).with_name(f"0002_{editor.DIALECT}.sql").read_text(encoding="utf-8")
    )


async def drop_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo create_tables."""
    await editor.client.execute_script(_DROP)


class Migration(migrations.Migration):
    """The second step."""

    dependencies = [("vyry", "0001_version_1")]

    operations = [ops.RunPython(create_tables, drop_tables)]
