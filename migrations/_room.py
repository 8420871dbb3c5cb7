"""Room of its own for notices, and what counts for whom, on both databases; and that a notice which waits for room is tried again when there is some."""

from typing import Final

from tortoise.migrations.schema_editor.base import BaseSchemaEditor

from migrations._deposit_postgres import AGAIN, BEFORE, NOW
from migrations._mail_postgres import ACKNOWLEDGE, LOSE
from migrations._push_triggers import WAKES_ON_SQLITE
from migrations._room_postgres import ACKNOWLEDGE as ACKNOWLEDGE_WITH_ROOM
from migrations._room_postgres import DEPOSIT, DEPOSIT_OF_BEFORE, POST, POST_ARGUMENTS, TABLES
from migrations._room_postgres import LOSE as LOSE_WITH_ROOM


#: Whatever makes room (acknowledging, expiry, parking) moves the counter, so that nobody has to look.
_TRY_AGAIN: Final = "UPDATE held_notice SET try_at = '1970-01-01 00:00:00+00:00' WHERE mailbox = NEW.id AND (try_at IS NULL OR try_at > '1970-01-01 00:00:00+00:00')"
#: They become mail of the lane control again, as nodes of the release before know it.
_BACK: Final = (
    "UPDATE mailbox SET control_entries = control_entries + notice_entries, control_bytes = control_bytes + notice_bytes WHERE notice_entries > 0",
    "UPDATE envelope SET lane = 1 WHERE lane = 2",
)
_CREATE: Final = {
    "postgres": (
        *TABLES,
        POST,
        DEPOSIT,
        DEPOSIT_OF_BEFORE,
        ACKNOWLEDGE_WITH_ROOM,
        LOSE_WITH_ROOM,
        f"""
        CREATE FUNCTION try_held_notices() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN {_TRY_AGAIN}; RETURN NULL; END $$""",
        "CREATE TRIGGER mailbox_has_room AFTER UPDATE OF notice_entries ON mailbox FOR EACH ROW"
        " WHEN (NEW.notice_entries < OLD.notice_entries) EXECUTE FUNCTION try_held_notices()",
    ),
    "sqlite": (
        "ALTER TABLE envelope ADD COLUMN share TEXT",
        "CREATE TABLE mailbox_share (mailbox INTEGER NOT NULL, share TEXT NOT NULL, lane INTEGER NOT NULL, entries INTEGER NOT NULL,"
        " size INTEGER NOT NULL, PRIMARY KEY (mailbox, share, lane)) WITHOUT ROWID",
        "CREATE TRIGGER mailbox_has_room AFTER UPDATE OF notice_entries ON mailbox WHEN NEW.notice_entries < OLD.notice_entries"
        f" BEGIN {_TRY_AGAIN}; END",
    ),
}
_DROP: Final = {
    "postgres": (
        *_BACK,
        "DROP FUNCTION try_held_notices() CASCADE",
        f"DROP FUNCTION mail_post({POST_ARGUMENTS})",
        "DROP FUNCTION mail_deposit(bigint[], int, bigint, int, bigint, int, bigint, timestamptz)",
        AGAIN.replace(BEFORE, NOW),
        ACKNOWLEDGE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"),
        LOSE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"),
        "DROP TABLE mailbox_share",
        "ALTER TABLE envelope DROP COLUMN share",
    ),
    "sqlite": (
        *_BACK,
        "DROP TRIGGER mailbox_has_room",
        "DROP TABLE mailbox_share",
        "ALTER TABLE envelope DROP COLUMN share",
    ),
}


async def keep_wakes(_apps: object, _editor: BaseSchemaEditor) -> None:
    """Nothing; see wake_again."""


async def wake_again(_apps: object, editor: BaseSchemaEditor) -> None:
    """SQLite makes the table anew when columns are taken from it, and forgets its triggers."""
    if editor.DIALECT == "sqlite":
        await editor.client.execute_script(WAKES_ON_SQLITE)


async def give_room(_apps: object, editor: BaseSchemaEditor) -> None:
    """Have the mail functions know of the lane of notices and of shares."""
    for statement in _CREATE[editor.DIALECT]:
        await editor.client.execute_script(statement)


async def give_no_room(_apps: object, editor: BaseSchemaEditor) -> None:
    """Undo give_room."""
    for statement in _DROP[editor.DIALECT]:
        await editor.client.execute_script(statement)
