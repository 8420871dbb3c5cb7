"""A post numbers the mailboxes of the node's own sockets: a new mail_number, a second mail_post, and mail_deposit by mail_number."""

from pathlib import Path
from typing import Final

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.schema_editor.base import BaseSchemaEditor


#: The step before this one.
PREVIOUS: Final = "0003_operator_tools"
_FILES: Final = {
    "postgres": ("0004_postgres_mail_number", "0004_postgres_mail_deposit", "0004_postgres_mail_post"),
    "sqlite": (),
}
_DROP_FILES: Final = {"postgres": ("0004_postgres_drop", "0001_postgres_mail_deposit"), "sqlite": ()}


async def create_functions(_apps: object, editor: BaseSchemaEditor) -> None:
    """Create the functions."""
    for name in _FILES[editor.DIALECT]:
        await editor.client.execute_script(_sql(name))


async def drop_functions(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo create_functions."""
    for name in _DROP_FILES[editor.DIALECT]:
        await editor.client.execute_script(_sql(name))


def _sql(name: str) -> str:
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    """The fourth step."""

    dependencies = [("vyry", PREVIOUS)]

    operations = [ops.RunPython(create_functions, drop_functions)]
