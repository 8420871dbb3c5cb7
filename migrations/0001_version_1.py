"""The schema of version 1.0, whole, as SQL in the files beside this one.

A later step has SQL files of its own; a function that changes is a new whole file. Steps after 1.0 only expand, so that nodes of the previous release keep working.
"""

from pathlib import Path
from typing import Final

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor


_FILES: Final = {
    "postgres": (
        "postgres_tables",
        "postgres_triggers",
        "postgres_mail_release",
        "postgres_mail_post",
        "postgres_mail_deposit",
        "postgres_mail_acknowledge",
        "postgres_mail_lose",
    ),
    "sqlite": ("sqlite",),
}


async def create_schema(_apps: object, editor: BaseSchemaEditor) -> None:
    """Create every table, index, trigger and function."""
    for name in _FILES[editor.DIALECT]:
        await editor.client.execute_script(_sql(name))


async def drop_schema(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo create_schema."""
    await editor.client.execute_script(_sql(f"{editor.DIALECT}_drop"))


def _sql(name: str) -> str:
    return Path(__file__).with_name(f"0001_{name}.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    """The first step."""

    initial = True

    operations = [ops.RunPython(create_schema, drop_schema)]
