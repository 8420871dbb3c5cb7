"""Invitations to sign up, and recovery codes: new tables and a column that no older node reads."""

from pathlib import Path
from typing import Final

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor


#: The step before this one.
PREVIOUS: Final = "0004_numbered_posts"
_DROP: Final = """
DROP TABLE signup_invitation;
DROP TABLE signup_attempt;
DROP TABLE recovery_code;
DROP TABLE recovery_try;
ALTER TABLE registration DROP COLUMN recovery_hash;
"""


async def create_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Create the tables and the column."""
    await editor.client.execute_script(
        Path(__file__).with_name(f"0005_{editor.DIALECT}.sql").read_text(encoding="utf-8")
    )


async def drop_tables(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo create_tables."""
    await editor.client.execute_script(_DROP)


class Migration(migrations.Migration):
    """The fifth step."""

    dependencies = [("vyry", PREVIOUS)]

    operations = [ops.RunPython(create_tables, drop_tables)]
